//go:build !windows

package remote

import (
	"os/exec"
	"syscall"
)

// hostName is the token process's file name.
const hostName = "tokenhost"

// detach puts the process into a group of its own, apart from the terminal's
// Ctrl+C.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
