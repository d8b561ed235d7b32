//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPath is what fits into sun_path on every Unix, in bytes.
const maxPath = 103

type socket struct {
	l    *net.UnixListener
	lock *os.File
}

func listen(path string) (acceptor, error) {
	if !filepath.IsAbs(path) || len(path) > maxPath {
		return nil, fmt.Errorf("invalid control path: %d bytes, at most %d, absolute", len(path), maxPath)
	}
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	l, err := bind(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &socket{l: l, lock: lock}, nil
}

// ownFolder makes dir, for us alone, and refuses somebody else's.
func ownFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !st.IsDir() || !ok || int(sys.Uid) != os.Getuid() {
		return fmt.Errorf("folder %s: %w", dir, ErrForeign)
	}
	return os.Chmod(dir, 0o700)
}

// takeLock keeps two agents that start at once apart. The lock ends with the
// process, however it ends.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrRunning
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// bind makes the socket; one at which nobody answers is a dead agent's.
func bind(path string) (*net.UnixListener, error) {
	if c, err := dial(context.Background(), path); err == nil {
		return nil, errors.Join(ErrRunning, c.Close())
	} else if !errors.Is(err, ErrNoAgent) {
		return nil, err
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("invalid control path %s: not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (s *socket) Accept() (io.ReadWriteCloser, error) {
	c, err := s.l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	if err := ownPeer(c); err != nil {
		_ = c.Close()
		return nil, ErrForeign
	}
	return c, nil
}

func (s *socket) Close() error { return errors.Join(s.l.Close(), s.lock.Close()) }

func dial(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoAgent
	case errors.Is(err, fs.ErrPermission):
		return nil, ErrForeign
	case err != nil:
		return nil, err
	}
	if err := ownPeer(c.(*net.UnixConn)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// ownPeer returns ErrForeign unless the process at the other end runs as the
// same user.
func ownPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	uid, perr := -1, error(nil)
	if err := raw.Control(func(fd uintptr) { uid, perr = peerUID(int(fd)) }); err != nil {
		return err
	}
	if perr != nil {
		return perr
	}
	if uid != os.Getuid() {
		return ErrForeign
	}
	return nil
}
