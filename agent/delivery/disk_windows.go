package delivery

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isFull says whether err means that the disk or the user's quota is full.
func isFull(err error) bool {
	return errors.Is(err, errFull) || errors.Is(err, windows.ERROR_DISK_FULL) ||
		errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) || errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// syncDir has nothing to do: NTFS journals names.
func syncDir(string) error { return nil }
