package stage

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const exeSuffix = ""

// ownGroup keeps a Ctrl-C in the terminal from the child, so that we stop it,
// and has the kernel end it when we die.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) }

func opener() (name string, args []string) { return "xdg-open", nil }

// openers are the system's openers by name, as the agent looks for them in PATH.
var openers = []string{"xdg-open"}

// listening finds the port from first to last on which the process itself
// listens: another agent or a squatter on the first port does not count.
func listening(pid, first, last int) (port int, ok bool) {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return 0, false
	}
	own := map[string]bool{}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			if inode, isSocket := strings.CutPrefix(to, "socket:["); isSocket {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// sl local_address rem_address st … uid timeout inode (proc(5))
		v := strings.Fields(sc.Text())
		if len(v) < 10 || v[3] != "0A" || !own[v[9]] {
			continue
		}
		_, hex, _ := strings.Cut(v[1], ":")
		p, err := strconv.ParseUint(hex, 16, 16)
		if err == nil && int(p) >= first && int(p) <= last {
			return int(p), true
		}
	}
	return 0, false
}
