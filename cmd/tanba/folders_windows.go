package main

import (
	"os"
	"path/filepath"
)

// machinePolicy is no file here: any user could make one below ProgramData.
const machinePolicy = ""

func findFolders() (folders, error) {
	roaming, err := os.UserConfigDir()
	if err != nil {
		return folders{}, err
	}
	local, err := os.UserCacheDir()
	if err != nil {
		return folders{}, err
	}
	return folders{config: filepath.Join(roaming, "Tanba"), data: filepath.Join(local, "Tanba", "data"), state: filepath.Join(local, "Tanba", "logs")}, nil
}
