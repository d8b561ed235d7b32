//go:build unix

package delivery

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

func TestIsFull(t *testing.T) {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, errFull} {
		assert.Equal(t, job.CodeDisk, codeOf(t, diskError(&fs.PathError{Op: "write", Err: e})))
	}
	assert.Equal(t, job.CodeInternal, codeOf(t, diskError(errors.New("something else"))))
	assert.NoError(t, diskError(nil))
}

// TestReservation looks at the blocks: reserved after Reserve, given back by
// Close.
func TestReservation(t *testing.T) {
	o := openOutbox(t, testConfig(t, t.TempDir()))
	req := request("https://crm.example.kz", "j", "/in")
	b, err := o.Begin(t.Context(), req)
	require.NoError(t, err)
	require.NoError(t, b.Reserve(t.Context(), 8<<20))
	blocks := func() int64 {
		st, err := os.Stat(b.Out().Path())
		require.NoError(t, err)
		return st.Sys().(*syscall.Stat_t).Blocks * 512
	}
	st, err := os.Stat(b.Out().Path())
	require.NoError(t, err)
	assert.Zero(t, st.Size())
	if blocks() < 8<<20 {
		t.Skip("this file system keeps no reservation")
	}
	require.NoError(t, b.Commit(t.Context(), put(t, b, prepared(req, "a"), 1000)))
	require.NoError(t, b.Close())
	assert.Less(t, blocks(), int64(1<<20))
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outbox")
	o := openOutbox(t, testConfig(t, dir))
	commit(t, o, request("https://crm.example.kz", "j", "/in"), 10, "a")
	st, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), st.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	for _, e := range entries {
		i, err := e.Info()
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), i.Mode().Perm(), e.Name())
	}
}
