package pages

import (
	"context"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// openSystem opens an address with the shell's handler for its protocol.
func openSystem(ctx context.Context, url string) error {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return err
	}
	return launch(ctx, exec.Command(filepath.Join(dir, "rundll32.exe"), "url.dll,FileProtocolHandler", url))
}
