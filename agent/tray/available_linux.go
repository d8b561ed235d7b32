package tray

import (
	"os"
	"path/filepath"
)

// Available reports whether there is a desktop session to show the icon in: a
// D-Bus session bus that we need not start.
func Available() bool {
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	_, err := os.Stat(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "bus"))
	return err == nil && os.Getenv("XDG_RUNTIME_DIR") != ""
}
