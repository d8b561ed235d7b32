package remote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"iter"
	"math/big"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
	"tanba/tokens/remote"
	"tanba/tokens/wire"
)

// The test binary plays the token process when fakeMode is set. fakeOnce names
// a file: only the process that finds and removes it misbehaves, those after
// it are well.
const (
	fakeMode = "TANBA_FAKE_HOST"
	fakeOnce = "TANBA_FAKE_ONCE"
)

const fakePIN = "secret-4711"

func TestMain(m *testing.M) {
	mode := os.Getenv(fakeMode)
	if mode == "" {
		os.Exit(run(m))
	}
	if once := os.Getenv(fakeOnce); once != "" && os.Remove(once) != nil {
		mode = "well"
	}
	playHost(mode)
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "softtoken")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	moduleDir = dir
	return m.Run()
}

func playHost(mode string) {
	ready := func() { _ = wire.NewWriter(os.Stdout).Write(wire.Reply{Ready: true}, nil) }
	raw := func(length uint32, rest string) {
		b := binary.BigEndian.AppendUint32(nil, length)
		_, _ = os.Stdout.Write(append(b, rest...))
		time.Sleep(time.Minute)
	}
	reply := func(r wire.Reply) {
		ready()
		var q wire.Request
		if _, err := wire.NewReader(os.Stdin).Read(&q); err != nil {
			os.Exit(3)
		}
		if r.ID == 0 {
			r.ID = q.ID
		}
		_ = wire.NewWriter(os.Stdout).Write(r, nil)
		time.Sleep(time.Minute)
	}
	long := strings.Repeat("x", 2<<20)
	switch mode {
	case "host beside":
		path, err := remote.HostBeside()
		fmt.Println(path, err)
	case "environment":
		for _, e := range os.Environ() {
			_, _ = fmt.Fprintln(os.Stderr, e)
		}
		time.Sleep(100 * time.Millisecond)
	case "start: exit":
		os.Exit(0)
	case "start: hang":
		time.Sleep(time.Minute)
	case "start: refuse":
		_ = wire.Refuse(os.Stdout, fmt.Errorf("no such thing: %w", tokens.ErrLibrary))
		os.Exit(1)
	case "start: text":
		_, _ = os.Stdout.WriteString("Vendor library v1.0 loaded\nhello hello hello\n")
		time.Sleep(time.Minute)
	case "start: 4 GiB":
		raw(0xFFFFFFFF, "")
	case "start: short frame":
		raw(2, "xx")
	case "start: unknown key":
		body := `{"id":0,"ready":true,"surprise":1}`
		raw(uint32(4+len(body)), string(binary.BigEndian.AppendUint32(nil, uint32(len(body))))+body)
	case "start: header longer than frame":
		raw(10, "\x00\x00\x10\x00......")
	case "list: unknown id":
		reply(wire.Reply{ID: 99})
	case "list: huge label":
		reply(wire.Reply{Tokens: []wire.Token{{ID: "1", Label: long, Library: "/x", PIN: tokens.PINOK}}})
	case "list: control characters":
		reply(wire.Reply{Tokens: []wire.Token{{ID: "1", Label: "a\nb", Library: "/x", PIN: tokens.PINOK}}})
	case "list: no certificate":
		reply(wire.Reply{Tokens: []wire.Token{{ID: "1", Library: "/x", PIN: tokens.PINOK, Identities: []wire.Identity{{ID: "2", Certificate: []byte("no")}}}}})
	case "list: unknown state":
		reply(wire.Reply{Tokens: []wire.Token{{ID: "1", Library: "/x", PIN: "fine"}}})
	case "list: unknown decision":
		reply(wire.Reply{Error: &wire.Error{Text: "x", Decisions: []string{"launch"}}})
	case "list: closed output":
		ready()
		_ = os.Stdout.Close()
		time.Sleep(time.Minute)
	default:
		if err := wire.Serve(context.Background(), os.Stdin, os.Stdout, newFake(mode)); err != nil {
			os.Exit(4)
		}
	}
}

// fake is a driver with one identity; it misbehaves as its mode says.
type fake struct {
	mode string
	key  *ecdsa.PrivateKey
	cert *cert.Certificate
}

func newFake(mode string) *fake {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Fake"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		panic(err)
	}
	return &fake{mode, key, c}
}

// misbehave does what the mode says at a point of a call.
func (f *fake) misbehave(at string) {
	if !strings.HasPrefix(f.mode, at+": ") {
		return
	}
	switch f.mode[len(at)+2:] {
	case "segv":
		signalSelf(syscall.SIGSEGV)
		time.Sleep(time.Minute)
	case "kill":
		signalSelf(syscall.SIGKILL)
		time.Sleep(time.Minute)
	case "exit 0":
		os.Exit(0)
	case "hang":
		time.Sleep(time.Minute)
	case "print PIN":
		_, _ = fmt.Fprintln(os.Stderr, "C_Login(", fakePIN, ")")
		time.Sleep(50 * time.Millisecond)
	}
}

func signalSelf(s os.Signal) {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Signal(s)
	}
}

func (f *fake) Name() string { return "fake" }

func (f *fake) List(context.Context) ([]tokens.Token, error) {
	f.misbehave("list")
	if f.mode == "list: no slots" {
		return nil, &tokens.CallError{Call: "C_GetSlotList", Code: 5, Name: "CKR_GENERAL_ERROR"}
	}
	return []tokens.Token{{
		ID: "t", Label: "Fake", Library: "/fake", PIN: tokens.PINOK,
		Identities: []tokens.Identity{{ID: "i", TokenID: "t", Certificate: f.cert, Algorithms: []sigalg.Algorithm{sigalg.ECDSAP256SHA256}}},
	}}, nil
}

func (f *fake) Open(context.Context, string) (tokens.Session, error) {
	f.misbehave("open")
	return &fakeSession{f}, nil
}

func (f *fake) Watch(ctx context.Context, events chan<- tokens.Event) {
	events <- tokens.Event{Kind: tokens.Inserted, TokenID: "t"}
	time.Sleep(200 * time.Millisecond) // until it is on the wire
	f.misbehave("watch")
	<-ctx.Done()
}

func (f *fake) ChangePIN(_ context.Context, id string, _, _ tokens.PIN) error {
	f.misbehave("change")
	if id != "t" {
		return tokens.ErrNotPresent
	}
	return nil
}

func (f *fake) UnblockPIN(ctx context.Context, id string, puk, fresh tokens.PIN) error {
	return f.ChangePIN(ctx, id, puk, fresh)
}

func (f *fake) Close() error { return nil }

type fakeSession struct{ f *fake }

func (s *fakeSession) Login(_ context.Context, pin tokens.PIN) error {
	s.f.misbehave("login")
	if string(pin.Bytes()) != fakePIN {
		call := &tokens.CallError{Call: "C_Login", Code: 0xA0, Name: "CKR_PIN_INCORRECT"}
		return fmt.Errorf("%w: %w", call, &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1, State: tokens.PINFinalTry})
	}
	return nil
}

func (s *fakeSession) Sign(_ context.Context, alg sigalg.Algorithm, digests [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for i, d := range digests {
			if i == 3 {
				s.f.misbehave("sign")
			}
			if s.f.mode == "sign at once" {
				if !yield(make([]byte, 256), nil) {
					return
				}
				continue
			}
			sig, err := s.f.key.Sign(rand.Reader, d, sigalg.SignerOpts(alg))
			if i == 3 && s.f.mode == "sign: removed" {
				sig, err = nil, &tokens.CallError{Call: "C_Sign", Code: 0x32, Name: "CKR_DEVICE_REMOVED", Is: tokens.ErrRemoved}
			}
			if i == 3 && s.f.mode == "sign: stops short" {
				return
			}
			if i == 3 && s.f.mode == "sign: twice" && !yield(sig, nil) {
				return
			}
			if i == 3 && s.f.mode == "sign: huge" {
				sig = make([]byte, 1<<20)
			}
			if !yield(sig, err) || err != nil {
				return
			}
		}
	}
}

func (s *fakeSession) Close() error {
	s.f.misbehave("close")
	return nil
}
