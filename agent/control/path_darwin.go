package control

import (
	"os"
	"path/filepath"
)

// DefaultPath returns where this user's agent listens, empty when the user has
// no home.
func DefaultPath() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "Library", "Application Support", "kz.tanba.agent", "run", "control.sock")
}
