//go:build unix

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const strangerVar = "TANBA_CONTROL_STRANGER"

// TestMain plays another user's process when the variable is set: it connects,
// asks, and tells how that went.
func TestMain(m *testing.M) {
	path := os.Getenv(strangerVar)
	if path == "" {
		os.Exit(m.Run())
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		fmt.Print("cannot connect")
		return
	}
	_, werr := c.Write([]byte(`{"cmd":"status"}` + "\n"))
	n, rerr := c.Read(make([]byte, 100))
	fmt.Print("read ", n, " ", werr != nil || rerr != nil)
	if err := Call(context.Background(), path, "status", nil, nil); errors.Is(err, ErrForeign) {
		fmt.Print(" foreign")
	}
}

// testPath is short: a socket's path has its bound.
func testPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tanba")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "control.sock")
}

func TestModes(t *testing.T) {
	path, _ := start(t, echo)
	for file, want := range map[string]os.FileMode{path: 0o600, path + ".lock": 0o600, filepath.Dir(path): 0o700} {
		st, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, want, st.Mode().Perm(), file)
	}
}

func TestStaleSocket(t *testing.T) {
	path := testPath(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	// Somebody answers there, although without our lock.
	_, err = Listen(path)
	require.ErrorIs(t, err, ErrRunning)
	require.NoError(t, l.Close())
	require.FileExists(t, path)
	require.ErrorIs(t, Call(t.Context(), path, "status", nil, nil), ErrNoAgent)
	again, err := Listen(path)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	require.NoFileExists(t, path)
	// What is no socket is not touched.
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	_, err = Listen(path)
	require.Error(t, err)
	require.FileExists(t, path)
}

// stranger runs this test as another user against path.
func stranger(t *testing.T, path string) string {
	t.Helper()
	exe := filepath.Join(filepath.Dir(filepath.Dir(path)), "stranger")
	data, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(exe, data, 0o755))
	cmd := exec.Command(exe)
	cmd.Dir = "/"
	cmd.Env = []string{strangerVar + "=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start another user's process")
	}
	asked := false
	path, _ := start(t, func(context.Context, string, json.RawMessage) (any, error) {
		asked = true
		return nil, nil
	})
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755))
	assert.Equal(t, "cannot connect", stranger(t, path), "the folder keeps others out")
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	assert.Equal(t, "cannot connect", stranger(t, path), "the socket's mode keeps others out")
	require.NoError(t, os.Chmod(path, 0o666))
	assert.Equal(t, "read 0 true foreign", stranger(t, path), "the system knows who it is")
	assert.False(t, asked)
	require.NoError(t, Call(t.Context(), path, "status", nil, nil))
	assert.True(t, asked)
}

func TestForeignFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make another user's folder")
	}
	path := testPath(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.Chown(filepath.Dir(path), 65534, 65534))
	_, err := Listen(path)
	require.ErrorIs(t, err, ErrForeign)
}
