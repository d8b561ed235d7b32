package main

import (
	"os"
	"path/filepath"
)

// machinePolicy is the file that the administrator manages.
const machinePolicy = "/Library/Application Support/kz.tanba.agent/policy.toml"

func findFolders() (folders, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return folders{}, err
	}
	support := filepath.Join(home, "Library", "Application Support", "kz.tanba.agent")
	return folders{config: support, data: filepath.Join(support, "data"), state: filepath.Join(home, "Library", "Logs", "Tanba")}, nil
}
