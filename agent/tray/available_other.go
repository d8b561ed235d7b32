//go:build !linux

package tray

// Available reports whether there is a desktop session to show the icon in.
func Available() bool { return supported }
