package main

import (
	"errors"
	"os"
	"path/filepath"
)

// machinePolicy is the file that the administrator manages.
const machinePolicy = "/etc/tanba/policy.toml"

// findFolders follows the XDG Base Directory Specification.
func findFolders() (folders, error) {
	home, err := os.UserHomeDir()
	base := func(variable, fallback string) string {
		if v := os.Getenv(variable); filepath.IsAbs(v) {
			return filepath.Join(v, "tanba")
		}
		return filepath.Join(home, fallback, "tanba")
	}
	f := folders{config: base("XDG_CONFIG_HOME", ".config"), data: base("XDG_DATA_HOME", ".local/share"), state: base("XDG_STATE_HOME", ".local/state")}
	if err != nil && !(filepath.IsAbs(f.config) && filepath.IsAbs(f.data) && filepath.IsAbs(f.state)) {
		return folders{}, errors.New("no home folder: set HOME")
	}
	return f, nil
}
