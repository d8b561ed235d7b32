package pages

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
)

// openSystem opens an address with the first xdg-open in PATH, in a session of
// its own so that the browser outlives the agent.
func openSystem(ctx context.Context, url string) error {
	path, err := exec.LookPath("xdg-open")
	if err != nil {
		return fmt.Errorf("no xdg-open: %w", err)
	}
	cmd := exec.Command(path, url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return launch(ctx, cmd)
}
