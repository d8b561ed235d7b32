//go:build !linux && !windows

package stage

import (
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"time"
)

const exeSuffix = ""

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) }

func opener() (name string, args []string) { return "open", nil }

// openers are the system's openers by name, as the agent looks for them in PATH.
var openers = []string{"open"}

// listening finds the first port from first to last that answers.
func listening(_, first, last int) (port int, ok bool) {
	for p := first; p <= last; p++ {
		if c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", p), time.Second); err == nil {
			_ = c.Close()
			return p, true
		}
	}
	return 0, false
}
