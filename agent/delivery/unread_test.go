package delivery

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"tanba/agent/job"
)

// tamper changes outbox.db while no outbox has it.
func tamper(t *testing.T, dir string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "outbox.db"), 0o600, &bbolt.Options{Timeout: time.Second})
	require.NoError(t, err)
	require.NoError(t, db.Update(change))
	require.NoError(t, db.Close())
}

// A signed file is not removed because its record cannot be read: it may be
// the only signed copy.
func TestUnreadableRecordKeepsItsFile(t *testing.T) {
	c := newCRM(t, nil)
	dir := t.TempDir()
	cfg := testConfig(t, dir, c.rootFile(t))
	o, err := Open(cfg)
	require.NoError(t, err)
	req := request(c.URL, "j", "/in")
	commit(t, o, req, 3000, "a")
	require.NoError(t, o.Close())
	before := spools(t, dir)
	require.Len(t, before, 1)

	var record []byte
	tamper(t, dir, func(tx *bbolt.Tx) error {
		k, v := tx.Bucket(bucketItems).Cursor().First()
		record = append(record, v...)
		return tx.Bucket(bucketItems).Put(k, []byte(`{"offset":"not a number"}`))
	})
	o, err = Open(cfg)
	require.NoError(t, err)
	require.NoError(t, o.Close())
	require.Equal(t, before, spools(t, dir))

	tamper(t, dir, func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket(bucketItems).Cursor().First()
		return tx.Bucket(bucketItems).Put(k, record)
	})
	o = openOutbox(t, cfg)
	run(t, o)
	assert.Equal(t, job.Delivered, await(t, o, req).Documents[0].State)
}

func TestOutboxOfANewerVersion(t *testing.T) {
	c := newCRM(t, nil)
	dir := t.TempDir()
	cfg := testConfig(t, dir, c.rootFile(t))
	o, err := Open(cfg)
	require.NoError(t, err)
	commit(t, o, request(c.URL, "j", "/in"), 3000, "a")
	require.NoError(t, o.Close())
	before := spools(t, dir)
	tamper(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(bucketAbout).Put(keyFormat, []byte("2")) })
	_, err = Open(cfg)
	require.ErrorIs(t, err, ErrFormat)
	assert.Equal(t, before, spools(t, dir))
}

// The clock ran years ahead when an attempt failed, and is right again.
func TestClockSetBack(t *testing.T) {
	var away atomic.Int64
	c := newCRM(t, nil)
	cfg := testConfig(t, t.TempDir(), c.rootFile(t))
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(away.Load())) }
	away.Store(int64(5 * 365 * 24 * time.Hour))
	o := openOutbox(t, cfg)
	req := request(c.URL, "j", "/in")
	commit(t, o, req, 3000, "a")
	away.Store(0)
	run(t, o)
	assert.Equal(t, job.Delivered, await(t, o, req).Documents[0].State)
}
