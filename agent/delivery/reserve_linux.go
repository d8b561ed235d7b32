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
	for {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, need)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
