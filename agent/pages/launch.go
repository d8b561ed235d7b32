package pages

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// launchWait is how long an opener may fail. One that runs longer has become
// the browser.
const launchWait = 5 * time.Second

// launch starts an opener. Its error never holds the command line, in which
// the address stands.
func launch(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the opener: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return fmt.Errorf("the opener failed: exit status %d", exit.ExitCode())
		}
		return err
	case <-time.After(launchWait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
