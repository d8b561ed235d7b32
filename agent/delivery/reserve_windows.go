package delivery

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// reserve checks that need bytes are free for this user where the file at path
// is. Windows keeps no reservation beyond a file's end without privileges.
func reserve(path string, need int64) error {
	dir, err := windows.UTF16PtrFromString(filepath.Dir(path))
	if err != nil {
		return err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(dir, &free, nil, nil); err != nil {
		return err
	}
	if uint64(need)+headroom > free {
		return errFull
	}
	return nil
}
