package remote_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
	"tanba/tokens"
	"tanba/tokens/remote"
	"tanba/tokens/tokentest"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fakeDriver returns a driver whose token process is this test binary. Only
// the first process misbehaves.
func fakeDriver(t *testing.T, mode string) (*remote.Driver, *lockedBuffer) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	once := filepath.Join(t.TempDir(), "once")
	require.NoError(t, os.WriteFile(once, nil, 0o600))
	log := &lockedBuffer{}
	d, err := remote.New(remote.Config{
		Host: self, Library: "/fake/library.so", Env: []string{fakeMode + "=" + mode, fakeOnce + "=" + once},
		Timeouts: remote.Timeouts{Call: time.Second, Login: time.Second, Sign: time.Second, Grace: 300 * time.Millisecond},
		Log:      slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d, log
}

// works puts a driver through one signature.
func works(t *testing.T, d *remote.Driver) {
	t.Helper()
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	id := list[0].Identities[0]
	s := tokentest.Unlock(t, d, id.ID, fakePIN)
	for sig, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 1)) {
		require.NoError(t, err)
		tokentest.Verify(t, id.Algorithms[0], id.Certificate.PublicKey, tokentest.Digests(id.Algorithms[0], 1)[0], sig)
	}
	assert.NoError(t, s.Close())
}

func TestWell(t *testing.T) {
	d, _ := fakeDriver(t, "well")
	works(t, d)
}

func TestBadStartAndList(t *testing.T) {
	for _, mode := range []string{
		"start: exit", "start: hang", "start: refuse", "start: text", "start: 4 GiB", "start: short frame", "start: unknown key",
		"start: header longer than frame",
		"list: segv", "list: exit 0", "list: hang", "list: unknown id", "list: huge label", "list: control characters",
		"list: no certificate", "list: unknown state", "list: unknown decision", "list: closed output", "list: no slots",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d, _ := fakeDriver(t, mode)
			_, err := d.List(t.Context())
			assert.ErrorIs(t, err, tokens.ErrLibrary)
			works(t, d)
		})
	}
}

func TestFaultsWhileSigning(t *testing.T) {
	for _, mode := range []string{
		"sign: segv", "sign: kill", "sign: exit 0", "sign: hang", "sign: stops short", "sign: twice", "sign: huge",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d, _ := fakeDriver(t, mode)
			list, err := d.List(t.Context())
			require.NoError(t, err)
			id := list[0].Identities[0]
			s := tokentest.Unlock(t, d, id.ID, fakePIN)
			digests := tokentest.Digests(sigalg.ECDSAP256SHA256, 5)
			n := 0
			var failed error
			for sig, err := range s.Sign(t.Context(), sigalg.ECDSAP256SHA256, digests) {
				require.NoError(t, failed, "nothing comes after an error")
				if failed = err; err == nil {
					tokentest.Verify(t, sigalg.ECDSAP256SHA256, id.Certificate.PublicKey, digests[min(n, 3)], sig)
					n++
				}
			}
			assert.ErrorIs(t, failed, tokens.ErrLibrary)
			assert.GreaterOrEqual(t, n, 3, "what came before stays good")
			for _, err := range s.Sign(t.Context(), sigalg.ECDSAP256SHA256, digests) {
				assert.ErrorIs(t, err, tokens.ErrLibrary, "the session has died with its process")
			}
			assert.NoError(t, s.Close())
			works(t, d)
		})
	}
}

func TestFaultsInOpenLoginClose(t *testing.T) {
	for _, mode := range []string{"open: segv", "open: hang", "login: exit 0", "login: hang"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d, _ := fakeDriver(t, mode)
			s, err := d.Open(t.Context(), "i")
			if err == nil {
				err = s.Login(t.Context(), tokens.NewPIN([]byte(fakePIN)))
			}
			assert.ErrorIs(t, err, tokens.ErrLibrary)
			works(t, d)
		})
	}
	t.Run("close: hang", func(t *testing.T) {
		d, _ := fakeDriver(t, "close: hang")
		s := tokentest.Unlock(t, d, "i", fakePIN)
		assert.NoError(t, s.Close(), "a dead session is closed")
		works(t, d)
	})
}

func TestErrorsComeThrough(t *testing.T) {
	d, _ := fakeDriver(t, "sign: removed")
	s, err := d.Open(t.Context(), "i")
	require.NoError(t, err)
	err = s.Login(t.Context(), tokens.NewPIN([]byte("wrong")))
	var pinError *tokens.PINError
	require.ErrorAs(t, err, &pinError)
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1, State: tokens.PINFinalTry}, *pinError)
	var call *tokens.CallError
	require.ErrorAs(t, err, &call)
	assert.Equal(t, tokens.CallError{Call: "C_Login", Code: 0xA0, Name: "CKR_PIN_INCORRECT"}, *call)

	require.NoError(t, s.Login(t.Context(), tokens.NewPIN([]byte(fakePIN))))
	n := 0
	for sig, err := range s.Sign(t.Context(), sigalg.ECDSAP256SHA256, tokentest.Digests(sigalg.ECDSAP256SHA256, 5)) {
		if n++; n <= 3 {
			assert.NoError(t, err)
			continue
		}
		assert.Nil(t, sig)
		assert.ErrorIs(t, err, tokens.ErrRemoved)
		require.ErrorAs(t, err, &call)
		assert.Equal(t, uint(0x32), call.Code)
	}
	assert.Equal(t, 4, n)
}

func TestOutstandingCallsFailTogether(t *testing.T) {
	d, _ := fakeDriver(t, "sign: segv")
	s := tokentest.Unlock(t, d, "i", fakePIN)
	hanging := tokentest.Unlock(t, d, "i", fakePIN)
	var wg sync.WaitGroup
	for _, x := range []tokens.Session{s, hanging} {
		wg.Go(func() {
			var failed error
			for _, err := range x.Sign(t.Context(), sigalg.ECDSAP256SHA256, tokentest.Digests(sigalg.ECDSAP256SHA256, 2000)) {
				failed = err
			}
			assert.ErrorIs(t, failed, tokens.ErrLibrary)
		})
	}
	wg.Wait()
}

func TestEndedContextSparesOthers(t *testing.T) {
	d, log := fakeDriver(t, "well")
	s := tokentest.Unlock(t, d, "i", fakePIN)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	for _, err := range s.Sign(ctx, sigalg.ECDSAP256SHA256, tokentest.Digests(sigalg.ECDSAP256SHA256, 9000)) {
		if n++; n == 5 {
			cancel()
		}
		if err != nil {
			assert.ErrorIs(t, err, context.Canceled)
		}
	}
	cancel()
	works(t, d)
	_ = log
}

func TestEndedContextKillsAHang(t *testing.T) {
	d, log := fakeDriver(t, "login: hang")
	s, err := d.Open(t.Context(), "i")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, s.Login(ctx, tokens.NewPIN([]byte(fakePIN))), context.DeadlineExceeded)
	assert.Eventually(t, func() bool { return strings.Contains(log.String(), "token process lost") }, 5*time.Second, 20*time.Millisecond)
	works(t, d)
}

func TestWatch(t *testing.T) {
	d, _ := fakeDriver(t, "watch: segv")
	events := make(chan tokens.Event, 16)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		d.Watch(ctx, events)
		close(done)
	}()
	var kinds []tokens.EventKind
	for range 4 {
		select {
		case e := <-events:
			kinds = append(kinds, e.Kind)
			if e.Kind == tokens.Lost {
				assert.ErrorIs(t, e.Err, tokens.ErrLibrary)
			}
		case <-ctx.Done():
		}
	}
	// What the new process reports comes after the word that something may
	// have happened meanwhile.
	assert.Equal(t, []tokens.EventKind{tokens.Inserted, tokens.Lost, tokens.Inserted, tokens.Inserted}, kinds)
	cancel()
	<-done
}

func TestPINInNoLog(t *testing.T) {
	d, log := fakeDriver(t, "login: print PIN")
	s := tokentest.Unlock(t, d, "i", fakePIN)
	require.NoError(t, s.Close())
	require.NoError(t, d.Close())
	assert.NotContains(t, log.String(), fakePIN)
	assert.Contains(t, log.String(), "token process says")
}

func TestRefusedPaths(t *testing.T) {
	for _, c := range []remote.Config{
		{Host: "tokenhost", Library: "/x.so"}, {Host: "/bin/true", Library: "x.so"}, {Host: "/bin/true", Library: ""},
		{Host: "/bin/true", Library: "./x.so"},
	} {
		_, err := remote.New(c)
		assert.Error(t, err)
	}
	_, err := remote.HostBeside()
	assert.Error(t, err, "there is no tokenhost beside a test binary")
	d, err := remote.New(remote.Config{Host: "/nonexistent/tokenhost", Library: "/x.so"})
	require.NoError(t, err)
	_, err = d.List(t.Context())
	assert.ErrorIs(t, err, tokens.ErrLibrary)
}

func TestHostBeside(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	program, err := os.ReadFile(self)
	require.NoError(t, err)
	path := filepath.Join(dir, "agent")
	require.NoError(t, os.WriteFile(path, program, 0o700))
	ask := func() string {
		c := exec.Command(path)
		c.Dir = "/"
		c.Env = append(os.Environ(), fakeMode+"=host beside")
		out, err := c.Output()
		require.NoError(t, err)
		return strings.TrimSpace(string(out))
	}
	host := filepath.Join(dir, "tokenhost")
	assert.NotContains(t, ask(), "<nil>", "none there")
	require.NoError(t, os.Mkdir(host, 0o700))
	assert.NotContains(t, ask(), "<nil>", "a folder is none")
	require.NoError(t, os.Remove(host))
	require.NoError(t, os.WriteFile(host, nil, 0o700))
	assert.Equal(t, host+" <nil>", ask())
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("LD_PRELOAD", "")
	t.Setenv("LD_LIBRARY_PATH", "/canary")
	t.Setenv("GODEBUG", "canary=1")
	t.Setenv("CANARY_TOKEN", "canary")
	t.Setenv("SOFTTOKEN_DIR", "/soft")
	t.Setenv("SOFTHSM2_CONF", "/hsm.conf")
	d, log := fakeDriver(t, "environment")
	_, err := d.List(t.Context())
	require.Error(t, err)
	assert.Contains(t, log.String(), "SOFTTOKEN_DIR=/soft")
	assert.Contains(t, log.String(), "SOFTHSM2_CONF=/hsm.conf")
	assert.NotContains(t, log.String(), "canary")
	assert.NotContains(t, log.String(), "LD_PRELOAD")
}

func TestRealHostRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	require.NoError(t, os.WriteFile(text, []byte("this is no library at all"), 0o600))
	broken := filepath.Join(dir, "broken.so")
	require.NoError(t, os.WriteFile(broken, []byte("\x7fELF\x02\x01\x01 and then nothing"), 0o600))
	other, err := filepath.Glob("/lib/*/libm.so.6")
	require.NoError(t, err)
	require.NotEmpty(t, other)
	for name, library := range map[string]string{
		"missing": filepath.Join(dir, "none.so"), "directory": dir, "text": text, "broken": broken,
		"no module": other[0], "program": tokentest.BuildHost(t),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := remote.New(remote.Config{Host: tokentest.BuildHost(t), Library: library})
			require.NoError(t, err)
			defer func() { _ = d.Close() }()
			_, err = d.List(t.Context())
			assert.ErrorIs(t, err, tokens.ErrLibrary)
			t.Log(err)
			assert.False(t, errors.Is(err, context.DeadlineExceeded))
		})
	}
}
