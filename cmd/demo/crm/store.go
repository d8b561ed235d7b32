package crm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// errNotFound reports a record that is not there.
var errNotFound = errors.New("no such record")

// The buckets of the database. Values are JSON.
const (
	bucketDeals    = "deals"    // deal ID → Deal
	bucketHistory  = "history"  // deal ID / big-endian number → Entry
	bucketPeople   = "people"   // person ID → Person
	bucketSessions = "sessions" // hex SHA-256 of the cookie → session
	bucketJobs     = "jobs"     // job ID → signing job
	bucketTaken    = "taken"    // idempotency key → taken
)

// A store is the database.
type store struct{ db *bbolt.DB }

func openStore(dir string) (*store, error) {
	db, err := bbolt.Open(filepath.Join(dir, "crm.db"), 0o600, &bbolt.Options{Timeout: 2 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range []string{bucketDeals, bucketHistory, bucketPeople, bucketSessions, bucketJobs, bucketTaken} {
			if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &store{db}, nil
}

// Close closes the database.
func (s *store) Close() error { return s.db.Close() }

// get reads one record. It returns errNotFound if there is none.
func get[T any](tx *bbolt.Tx, bucket, key string) (v T, err error) {
	raw := tx.Bucket([]byte(bucket)).Get([]byte(key))
	if raw == nil {
		return v, fmt.Errorf("%s %q: %w", bucket, key, errNotFound)
	}
	return v, json.Unmarshal(raw, &v)
}

// put writes one record.
func put(tx *bbolt.Tx, bucket, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucket)).Put([]byte(key), raw)
}

// read is get in a transaction of its own.
func read[T any](s *store, bucket, key string) (v T, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		v, err = get[T](tx, bucket, key)
		return err
	})
	return v, err
}

// all reads every record of a bucket in the order of keys.
func all[T any](s *store, bucket string) (list []T, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucket)).ForEach(func(_, raw []byte) error {
			var v T
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
			list = append(list, v)
			return nil
		})
	})
	return list, err
}

// maxHistory bounds a deal's history: a line that comes after it is dropped.
const maxHistory = 5000

// note adds a line to a deal's history.
func note(tx *bbolt.Tx, deal string, e Entry) error {
	b, err := tx.Bucket([]byte(bucketHistory)).CreateBucketIfNotExists([]byte(deal))
	if err != nil {
		return err
	}
	n, err := b.NextSequence()
	if err != nil || n > maxHistory {
		return err
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return b.Put(binary.BigEndian.AppendUint64(nil, n), raw)
}

// history returns a deal's history, the newest line first.
func (s *store) history(deal string) (list []Entry, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketHistory)).Bucket([]byte(deal))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, raw := c.Last(); k != nil; k, raw = c.Prev() {
			var e Entry
			if err := json.Unmarshal(raw, &e); err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// files is a folder of documents named by their digests.
type files struct{ dir string }

func openFiles(dir string) (*files, error) {
	f := &files{filepath.Join(dir, "files")}
	return f, os.MkdirAll(f.dir, 0o700)
}

// Path returns where a blob's file is.
func (f *files) Path(b Blob) string { return filepath.Join(f.dir, b.SHA256) }

// Put keeps data, durably.
func (f *files) Put(data []byte) (Blob, error) {
	sum := sha256.Sum256(data)
	b := Blob{hex.EncodeToString(sum[:]), int64(len(data))}
	if _, err := os.Stat(f.Path(b)); err == nil {
		return b, nil
	}
	tmp, err := os.CreateTemp(f.dir, ".new-*")
	if err != nil {
		return Blob{}, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return Blob{}, err
	}
	return b, os.Rename(tmp.Name(), f.Path(b))
}

// Get reads a blob.
func (f *files) Get(b Blob) ([]byte, error) { return os.ReadFile(f.Path(b)) }
