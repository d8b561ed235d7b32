package delivery

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

func TestRestart(t *testing.T) {
	c := newCRM(t, nil)
	dir := t.TempDir()
	cfg := testConfig(t, dir, c.rootFile(t))
	o, err := Open(cfg)
	require.NoError(t, err)
	req := request(c.URL, "j", "/in")
	commit(t, o, req, 3000, "a", "b")
	// A batch that never commits, and one that is cut off.
	b, err := o.Begin(t.Context(), request(c.URL, "k", "/in"))
	require.NoError(t, err)
	put(t, b, prepared(req, "x"), 100)
	require.NoError(t, b.Close())
	b, err = o.Begin(t.Context(), request(c.URL, "l", "/in"))
	require.NoError(t, err)
	put(t, b, prepared(req, "y"), 100)
	_, err = Open(cfg)
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, o.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "note.txt"), nil, 0o600))

	before := spools(t, dir)
	require.Len(t, before, 4) // a and b; y's two; the note
	var kept string
	for _, n := range before {
		if st, err := os.Stat(filepath.Join(dir, n)); err == nil && st.Size() > 5000 {
			kept = filepath.Join(dir, n)
			f, err := os.OpenFile(kept, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString("a half document")
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	require.NotEmpty(t, kept)
	o = openOutbox(t, cfg)
	assert.ElementsMatch(t, []string{"note.txt", filepath.Base(kept)}, spools(t, dir))
	st, err := os.Stat(kept)
	require.NoError(t, err)
	assert.EqualValues(t, len(signedFile("a", 3000))+len(signedFile("b", 3000)), st.Size())
	run(t, o)
	for _, d := range await(t, o, req).Documents {
		assert.Equal(t, job.Delivered, d.State)
	}
	assert.Equal(t, 2, len(c.got(t)))
	for _, p := range c.got(t) {
		assert.Equal(t, testBearer, p.bearer)
	}
}

func TestBatchOfAThousand(t *testing.T) {
	c := newCRM(t, nil)
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	run(t, o)
	req := request(c.URL, "big", "/in")
	docs := make([]string, 1000)
	for i := range docs {
		docs[i] = fmt.Sprintf("d%04d", i)
	}
	begin := time.Now()
	commit(t, o, req, 20_000, docs...)
	committed := time.Since(begin)
	r := await(t, o, req)
	t.Logf("1000 documents of 20 kB: committed in %v, delivered in %v (%.0f a second)", committed, time.Since(begin)-committed, 1000/(time.Since(begin)-committed).Seconds())
	keys := map[string]int{}
	for _, p := range c.got(t) {
		keys[p.key]++
	}
	assert.Equal(t, 1000, len(keys))
	assert.Equal(t, 1000, len(c.got(t)))
	for i, d := range r.Documents {
		require.Equal(t, docs[i], d.ID)
		require.Equal(t, job.Delivered, d.State)
	}
	require.Eventually(t, func() bool { return len(spools(t, o.cfg.Dir)) == 0 }, 5*time.Second, 5*time.Millisecond)
}
