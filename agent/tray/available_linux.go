package tray

import (
	"os"
	"path/filepath"

	"github.com/godbus/dbus/v5"
)

// Available reports whether there is a desktop session to show the icon in: a
// D-Bus session bus that answers and that we need not start. The connection is
// the one that the icon uses; without it the library behind the icon crashes
// when it ends.
func Available() bool {
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		dir := os.Getenv("XDG_RUNTIME_DIR")
		if _, err := os.Stat(filepath.Join(dir, "bus")); dir == "" || err != nil {
			return false
		}
	}
	_, err := dbus.SessionBus()
	return err == nil
}
