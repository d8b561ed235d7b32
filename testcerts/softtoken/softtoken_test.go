package softtoken_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts"
	"tanba/testcerts/softtoken"
)

const pin = "1234567890"

var (
	now      = time.Now()
	probeExe string // testdata/probe.c with the module, compiled with the address sanitizer
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "softtoken-test-")
	if err != nil {
		panic(err)
	}
	probeExe = filepath.Join(dir, "probe")
	err = compileProbe(probeExe, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Println(err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// compileProbe compiles testdata/probe.c and the module. A warning is an error.
func compileProbe(exe string, flags ...string) error {
	sources, err := filepath.Glob("module/*.c")
	if err != nil {
		return err
	}
	args := append(flags, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Imodule", "-pthread", "-o", exe, "testdata/probe.c")
	if out, err := exec.Command("cc", append(args, sources...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("compiling the probe: %w\n%s", err, out)
	}
	return nil
}

// A bed is a folder with one token that holds keys of all kinds.
type bed struct {
	dir    string
	r      *softtoken.Reader
	leaves map[string]*testcerts.Leaf // by hex id
}

func newBed(t testing.TB, kinds ...testcerts.KeyKind) *bed {
	t.Helper()
	p, err := testcerts.New(testcerts.Options{Now: now})
	require.NoError(t, err)
	b := &bed{dir: filepath.Join(t.TempDir(), "readers"), leaves: map[string]*testcerts.Leaf{}}
	b.r, err = softtoken.Create(b.dir, "Reader 01", softtoken.Info{
		Label: "Директор", Serial: "0A1B2C3D", Manufacturer: "Tanba", Model: "soft", PIN: pin, MinPIN: 6,
	})
	require.NoError(t, err)
	for i, kind := range kinds {
		l, err := p.Issue(testcerts.LeafSpec{Name: "ИВАНОВ ИВАН", IIN: "900101300123", Kind: kind})
		require.NoError(t, err)
		require.NoError(t, b.r.AddLeaf("Ключ "+string(kind), l, []byte{0x0a, byte(i + 1)}))
		b.leaves[fmt.Sprintf("0a%02x", i+1)] = l
	}
	return b
}

// A probe is a running probe.c.
type probe struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

func (b *bed) start(t testing.TB, exe string) *probe {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), softtoken.EnvDir+"="+b.dir, "ASAN_OPTIONS=handle_segv=0:handle_abort=0:allow_user_segv_handler=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &probe{t, cmd, in, make(chan string, 100)}
	go func() {
		s := bufio.NewScanner(out)
		for s.Scan() {
			p.lines <- strings.TrimRight(s.Text(), " ")
		}
		close(p.lines)
	}()
	return p
}

func (b *bed) probe(t testing.TB) *probe {
	t.Helper()
	p := b.start(t, probeExe)
	assert.Equal(t, "0", p.call("init"))
	return p
}

// send gives a command without waiting for an answer.
func (p *probe) send(format string, args ...any) {
	p.t.Helper()
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	require.NoError(p.t, err)
}

// answer returns the next line, or "EOF" when the process has ended.
func (p *probe) answer(within time.Duration) string {
	p.t.Helper()
	select {
	case s, ok := <-p.lines:
		if !ok {
			return "EOF"
		}
		return s
	case <-time.After(within):
		return "no answer"
	}
}

func (p *probe) call(format string, args ...any) string {
	p.t.Helper()
	p.send(format, args...)
	return p.answer(20 * time.Second)
}

// open opens a session on slot 0, and logs in if asked.
func (p *probe) open(login bool) (session string) {
	p.t.Helper()
	rv, session, _ := strings.Cut(p.call("open 0"), " ")
	require.Equal(p.t, "0", rv, "C_OpenSession")
	if login {
		require.Equal(p.t, "0", p.call("login %s 1 %s", session, pin), "C_Login")
	}
	return session
}

// find returns the handles of the objects with a class (1 certificate, 2
// public, 3 private key) and an id in hex ("-": any).
func (p *probe) find(session string, class int, id string) []string {
	p.t.Helper()
	f := strings.Fields(p.call("find %s %d %s", session, class, id))
	require.Equal(p.t, "0", f[0], "C_FindObjectsInit")
	return f[1:]
}

// key returns the handle of the one private key with the id.
func (p *probe) key(session, id string) string {
	p.t.Helper()
	h := p.find(session, 3, id)
	require.Len(p.t, h, 1)
	return h[0]
}

// end closes the probe's input and wants it to end without a complaint of the
// sanitizer, which would make its status another one.
func (p *probe) end() {
	p.t.Helper()
	_ = p.in.Close()
	for range p.lines {
	}
	assert.NoError(p.t, p.cmd.Wait())
}
