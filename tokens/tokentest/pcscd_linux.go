package tokentest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Where Debian has the card service, and the folder of its drivers.
const (
	pcscdPath   = "/usr/sbin/pcscd"
	driversPath = "/usr/lib/pcsc/drivers"
)

// A pcscd is a card service of one test: it has one reader, vpcd's, none of
// the machine's, and a socket of its own. It dies with the test's process.
//
// The socket is passed to it as a service manager does (sd_listen_fds), so
// that clients need no more than PCSCLITE_CSOCK_NAME. What it writes to
// /run/pcscd besides goes to a mount namespace of its own, where the drivers of
// real readers are hidden too; an ordinary user's is inside a user namespace.
type pcscd struct {
	dir    string
	addrs  [2]string // where vpcd's slots listen
	socket string
	cmd    *exec.Cmd
	listen *net.UnixListener
	ended  chan struct{}
	output *os.File
}

// loopback is put before vpcd, which would listen for the whole network.
const loopback = `
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int bind(int fd, const struct sockaddr *to, socklen_t n) {
	struct sockaddr_in a;
	if (to->sa_family == AF_INET && n == sizeof a) {
		memcpy(&a, to, n);
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		to = (struct sockaddr *)&a;
	}
	return syscall(SYS_bind, fd, to, n);
}`

// newPCSCD lays out the folder of a card service.
func newPCSCD(dir string) (*pcscd, error) {
	if _, err := os.Stat(pcscdPath); err != nil {
		return nil, errors.New("no card service: apt install pcscd")
	}
	source, shim := filepath.Join(dir, "loopback.c"), filepath.Join(dir, "loopback.so")
	if err := os.WriteFile(source, []byte(loopback), 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", shim, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling %s (apt install gcc libc6-dev): %w: %s", source, err, out)
	}
	port, err := twoPorts()
	if err != nil {
		return nil, err
	}
	driver, err := os.ReadFile(filepath.Join(driversPath, "serial/libifdvpcd.so"))
	if err != nil {
		return nil, errors.New("no virtual reader: apt install vsmartcard-vpcd")
	}
	// A copy, because the folder is hidden from the service.
	library := filepath.Join(dir, "libifdvpcd.so")
	if err := os.WriteFile(library, driver, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "reader.conf.d")
	if err := os.Mkdir(conf, 0o700); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("FRIENDLYNAME \"Virtual PCD\"\nDEVICENAME /dev/null:%d\nLIBPATH %s\nCHANNELID %d\n", port, library, port)
	if err := os.WriteFile(filepath.Join(conf, "vpcd"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	p := &pcscd{dir: dir, socket: filepath.Join(dir, "comm")}
	for i := range p.addrs {
		p.addrs[i] = fmt.Sprintf("127.0.0.1:%d", port+i)
	}
	return p, nil
}

// twoPorts finds two neighbouring ports that are free and that no other test
// was given: below those that the system gives away, one pair to a lock, which
// lasts as long as the process.
func twoPorts() (int, error) {
	folder := filepath.Join(os.TempDir(), fmt.Sprintf("tanba-vpcd-%d", os.Geteuid()))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return 0, err
	}
	for range 200 {
		port := 20000 + 2*rand.IntN(5000)
		lock, err := os.OpenFile(filepath.Join(folder, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return 0, err
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && free(port) && free(port+1) {
			takenMu.Lock()
			defer takenMu.Unlock()
			taken = append(taken, lock)
			return port, nil
		}
		_ = lock.Close()
	}
	return 0, errors.New("no two neighbouring ports are free")
}

// taken keeps the locks of twoPorts.
var (
	takenMu sync.Mutex
	taken   []*os.File
)

func free(port int) bool {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// inNamespace prepares the mount namespace and becomes the service.
const inNamespace = `set -e
mount --make-rprivate /
[ -d /run/pcscd ] && mount -t tmpfs -o mode=755 none /run/pcscd || mount -t tmpfs -o mode=755 none /run
mount -t tmpfs none ` + driversPath + `
export LISTEN_FDS=1 LISTEN_PID=$$ LD_PRELOAD="$SHIM"
exec "$@"`

func (p *pcscd) start() error {
	var err error
	p.listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: p.socket, Net: "unix"})
	if err != nil {
		return err
	}
	fd, err := p.listen.File()
	if err != nil {
		return err
	}
	defer func() { _ = fd.Close() }()
	p.output, err = os.OpenFile(filepath.Join(p.dir, "pcscd.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	p.cmd = exec.Command("/bin/sh", "-c", inNamespace, "sh", pcscdPath, "--foreground", "--config", filepath.Join(p.dir, "reader.conf.d"))
	p.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SHIM=" + filepath.Join(p.dir, "loopback.so")}
	p.cmd.ExtraFiles = []*os.File{fd}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		p.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		p.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		p.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("a card service of our own needs a mount namespace (root, or an ordinary user who may make a user namespace): %w", err)
	}
	p.ended = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p.ready()
}

// ready waits until the service has opened its reader.
func (p *pcscd) ready() error {
	select {
	case <-p.ended:
		return fmt.Errorf("the card service ended: %s\n%s", p.cmd.ProcessState, p.log())
	case <-time.After(50 * time.Millisecond):
	}
	return nil
}

func (p *pcscd) log() string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "pcscd.log"))
	return strings.TrimSpace(string(b))
}

// kill ends the service as a crash does, and nobody listens any more.
func (p *pcscd) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.listen.Close() // takes the socket away too
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.output.Close()
	p.cmd = nil
}
