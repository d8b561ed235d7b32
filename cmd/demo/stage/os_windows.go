package stage

import (
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"time"
)

const exeSuffix = ".exe"

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate kills: a process without a console cannot be asked.
func terminate(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func opener() (name string, args []string) {
	return "rundll32", []string{"url.dll,FileProtocolHandler"}
}

// openers is empty: the agent does not look for its opener in PATH here.
var openers []string

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
