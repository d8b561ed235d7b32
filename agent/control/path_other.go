//go:build !windows && !darwin

package control

import (
	"os"
	"path/filepath"
)

// DefaultPath returns where this user's agent listens: in the runtime folder of
// the XDG Base Directory Specification, or in the state folder where a session
// has none; empty when the user has no home either.
func DefaultPath() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tanba", "control.sock")
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tanba", "run", "control.sock")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "tanba", "run", "control.sock")
}
