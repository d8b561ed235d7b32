package remote

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// hostName is the token process's file name.
const hostName = "tokenhost.exe"

// detach starts the process without a console window and apart from the
// console's Ctrl+C.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{
		HideWindow: true, CreationFlags: windows.CREATE_NO_WINDOW | windows.CREATE_NEW_PROCESS_GROUP,
	}
}
