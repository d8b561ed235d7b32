package delivery

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve sets need bytes on disk aside for the file at path, without changing
// its size. Where the file system cannot, free space is checked alone.
func reserve(path string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	if uint64(need)+headroom > st.Bavail*uint64(st.Bsize) {
		return errFull
	}
	if need == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = unix.FcntlFstore(f.Fd(), unix.F_PREALLOCATE, &unix.Fstore_t{
		Flags: unix.F_ALLOCATEALL, Posmode: unix.F_PEOFPOSMODE, Length: need,
	})
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
