//go:build unix

package find

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Trusted reports why a library could have been put there by the user: it
// and every folder above it must belong to root and be writable by root alone.
func Trusted(path string) error {
	if !filepath.IsAbs(path) {
		return errRelative
	}
	for p := path; ; p = filepath.Dir(p) {
		st, err := os.Lstat(p)
		if err != nil {
			return err
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok || sys.Uid != 0 || st.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("%s can be written by others than the administrator", p)
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}
