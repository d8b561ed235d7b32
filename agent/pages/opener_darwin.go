package pages

import (
	"context"
	"os/exec"
)

// openSystem opens an address with the system's open.
func openSystem(ctx context.Context, url string) error {
	return launch(ctx, exec.Command("/usr/bin/open", url))
}
