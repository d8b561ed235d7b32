package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	bufferSize = 64 << 10
	// busyWait is the pause when every instance of the pipe is taken.
	busyWait = 20 * time.Millisecond
	// seeOnly lets the server see who we are, not act as us.
	seeOnly = windows.SECURITY_SQOS_PRESENT | windows.SECURITY_IDENTIFICATION
)

// A pipe accepts on one instance after the other.
type pipe struct {
	path *uint16
	sa   *windows.SecurityAttributes
	over windows.Handle // event: Close was called

	mu     sync.Mutex     // held while Accept runs
	next   windows.Handle // the instance that waits for a client
	closed bool
}

func listen(path string) (acceptor, error) {
	if !strings.HasPrefix(path, `\\.\pipe\`) {
		return nil, errors.New("invalid control path: not a pipe of this computer")
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("GetTokenUser: %w", err)
	}
	// Protected, nothing inherited: this user alone, no network logon.
	sd, err := windows.SecurityDescriptorFromString("D:P(D;;GA;;;NU)(A;;GA;;;" + user.User.Sid.String() + ")")
	if err != nil {
		return nil, fmt.Errorf("security descriptor: %w", err)
	}
	p := &pipe{path: name, sa: &windows.SecurityAttributes{SecurityDescriptor: sd}}
	p.sa.Length = uint32(unsafe.Sizeof(*p.sa))
	p.next, err = p.instance(windows.FILE_FLAG_FIRST_PIPE_INSTANCE)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_PIPE_BUSY) {
		return nil, errors.Join(vacant(path), err) // somebody was quicker
	}
	if err != nil {
		return nil, err
	}
	if p.over, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
		return nil, errors.Join(err, windows.CloseHandle(p.next))
	}
	return p, nil
}

// vacant returns ErrRunning when our own agent has the name, ErrForeign when a
// stranger took it.
func vacant(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := dial(ctx, path)
	switch {
	case err == nil:
		return errors.Join(ErrRunning, c.Close())
	case errors.Is(err, context.DeadlineExceeded):
		return ErrRunning // every instance is busy
	case errors.Is(err, ErrNoAgent):
		return nil
	}
	return err
}

func (p *pipe) instance(flags uint32) (windows.Handle, error) {
	h, err := windows.CreateNamedPipe(p.path, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|flags,
		windows.PIPE_TYPE_BYTE|windows.PIPE_READMODE_BYTE|windows.PIPE_WAIT|windows.PIPE_REJECT_REMOTE_CLIENTS,
		windows.PIPE_UNLIMITED_INSTANCES, bufferSize, bufferSize, 0, p.sa)
	if err != nil {
		return windows.InvalidHandle, fmt.Errorf("CreateNamedPipe: %w", err)
	}
	return h, nil
}

func (p *pipe) Accept() (io.ReadWriteCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	if err := p.connect(); err != nil {
		return nil, err
	}
	h := p.next
	next, err := p.instance(0)
	p.next = next
	if err != nil {
		return nil, errors.Join(err, windows.CloseHandle(h))
	}
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(h, &pid); err == nil {
		err = ownProcess(pid)
		if err == nil {
			return os.NewFile(uintptr(h), "control"), nil
		}
	}
	_ = windows.CloseHandle(h)
	return nil, ErrForeign
}

// connect waits for a client at p.next, or for Close.
func (p *pipe) connect() error {
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(event)
	o := &windows.Overlapped{HEvent: event}
	err = windows.ConnectNamedPipe(p.next, o)
	switch {
	case err == nil, errors.Is(err, windows.ERROR_PIPE_CONNECTED):
		return nil
	case errors.Is(err, windows.ERROR_NO_DATA): // came and went: the first read tells
		return nil
	case !errors.Is(err, windows.ERROR_IO_PENDING):
		return fmt.Errorf("ConnectNamedPipe: %w", err)
	}
	which, err := windows.WaitForMultipleObjects([]windows.Handle{event, p.over}, false, windows.INFINITE)
	var n uint32
	if err != nil || which != windows.WAIT_OBJECT_0 {
		_ = windows.CancelIoEx(p.next, o)
		_ = windows.GetOverlappedResult(p.next, o, &n, true) // o is ours again
		return errors.Join(err, net.ErrClosed)
	}
	if err := windows.GetOverlappedResult(p.next, o, &n, true); err != nil {
		return fmt.Errorf("ConnectNamedPipe: %w", err)
	}
	return nil
}

// Close ends an Accept that waits and gives the name back. It is called once.
func (p *pipe) Close() error {
	err := windows.SetEvent(p.over)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.next != windows.InvalidHandle {
		err = errors.Join(err, windows.CloseHandle(p.next))
	}
	return errors.Join(err, windows.CloseHandle(p.over))
}

func dial(ctx context.Context, path string) (io.ReadWriteCloser, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	for {
		h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|seeOnly, 0)
		switch {
		case err == nil:
			return checked(h)
		case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
			return nil, ErrNoAgent
		case errors.Is(err, windows.ERROR_ACCESS_DENIED):
			return nil, ErrForeign
		case !errors.Is(err, windows.ERROR_PIPE_BUSY):
			return nil, fmt.Errorf("CreateFile: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(busyWait):
		}
	}
}

// checked returns the client's end of a pipe if its server is our user's.
func checked(h windows.Handle) (io.ReadWriteCloser, error) {
	var pid uint32
	err := windows.GetNamedPipeServerProcessId(h, &pid)
	if err == nil {
		err = ownProcess(pid)
	}
	if err != nil {
		_ = windows.CloseHandle(h)
		return nil, ErrForeign
	}
	return os.NewFile(uintptr(h), "control"), nil
}

// ownProcess returns ErrForeign unless the process runs as the same user.
func ownProcess(pid uint32) error {
	own, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("GetTokenUser: %w", err)
	}
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return ErrForeign
	}
	defer windows.CloseHandle(process)
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return ErrForeign
	}
	defer token.Close()
	user, err := token.GetTokenUser()
	if err != nil {
		return fmt.Errorf("GetTokenUser: %w", err)
	}
	if !user.User.Sid.Equals(own.User.Sid) {
		return ErrForeign
	}
	return nil
}
