//go:build !linux

package find

// listed returns the libraries that the system's own list names; this system
// has none.
func listed() (paths []string, refused []error) { return nil, nil }
