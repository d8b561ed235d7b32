//go:build unix

package job

import (
	"errors"
	"syscall"
)

// diskFull reports whether err says that the disk or the quota is full.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
