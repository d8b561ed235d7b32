package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/cmd/demo/stage"
)

// descriptors counts the agent's open files and sockets.
func descriptors(t *testing.T, s *stage.Stage) int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Agent.PID()))
	require.NoError(t, err)
	return len(list)
}

// resident is the agent's resident size, in bytes.
func resident(t *testing.T, s *stage.Stage) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Agent.PID()))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	require.NoError(t, err)
	return kb << 10
}

// Hundreds of pages come and go, ask, withdraw, vanish, sign and reject. When
// they are gone nothing of them is left in the agent.
func TestNothingIsLeftBehind(t *testing.T) {
	var got atomic.Int64
	var sites []string
	for i := range 20 {
		sites = append(sites, fmt.Sprintf("http://site%d.example", i))
	}
	s := quiet(t, func(o *stage.Options) {
		o.Config = "log_level = \"debug\"\n"
		o.Wrap = func(next http.Handler) http.Handler { return taken(&got, next) }
	})
	letIn(t, s, sites...)
	time.Sleep(time.Second)
	files, size := descriptors(t, s), resident(t, s)

	for i := range 300 {
		w, err := dialAgent(t.Context(), s, sites[i%len(sites)])
		require.NoError(t, err, "socket %d", i)
		require.NoError(t, w.c.Close())
	}
	w, err := dialAgent(t.Context(), s, s.URL)
	require.NoError(t, err)
	defer func() { _ = w.c.Close() }()
	for i := range 60 {
		id, err := w.sign(s.URL, fmt.Sprintf("withdrawn%d", i))
		require.NoError(t, err)
		_, err = s.Prompts.Next(t.Context())
		require.NoError(t, err)
		_, err = w.send("cancel", map[string]any{"job": fmt.Sprintf("withdrawn%d", i)})
		require.NoError(t, err)
		_, err = w.answer(id)
		require.EqualError(t, err, "cancelled")
	}
	for i := range 12 {
		id, err := w.sign(s.URL, fmt.Sprintf("seen%d", i))
		require.NoError(t, err)
		p, err := openPaper(t.Context(), s)
		require.NoError(t, err)
		var ok any
		switch i % 4 {
		case 0:
			v, err := p.load()
			require.NoError(t, err)
			unlocked, err := p.approve(v, s.PIN)
			require.NoError(t, err)
			require.True(t, unlocked)
			result, err := w.answer(id)
			require.NoError(t, err)
			assert.Contains(t, result, `"delivered"`)
		case 1:
			require.NoError(t, p.call("/api/call/reject", map[string]any{"documents": []string{"note"}, "reason": "other", "text": ""}, &ok))
			result, err := w.answer(id)
			require.NoError(t, err)
			assert.Contains(t, result, `"rejected"`)
		case 2:
			require.NoError(t, p.call("/api/call/later", struct{}{}, &ok))
			_, err := w.answer(id)
			require.NoError(t, err)
		case 3: // the page's tab is closed
			require.NoError(t, p.stream.Close())
			_, err := w.answer(id)
			require.EqualError(t, err, "prompt_closed")
		}
		_ = p.stream.Close()
	}
	for i := range 1 { // the CRM's page vanishes
		v, err := dialAgent(t.Context(), s, s.URL)
		require.NoError(t, err)
		_, err = v.sign(s.URL, fmt.Sprintf("vanished%d", i))
		require.NoError(t, err)
		_, err = s.Prompts.Next(t.Context())
		require.NoError(t, err)
		require.NoError(t, v.c.Close())
		time.Sleep(11 * time.Second)
	}
	require.NoError(t, w.c.Close())
	http.DefaultClient.CloseIdleConnections()
	time.Sleep(30 * time.Second) // ended pages and their listener live on for a while

	t.Log("files:", files, "→", descriptors(t, s), " resident:", size>>10, "→", resident(t, s)>>10, "KiB, delivered:", got.Load())
	assert.LessOrEqual(t, descriptors(t, s), files+4)
	assert.Less(t, resident(t, s), size+32<<20)
	outbox, err := os.ReadDir(filepath.Join(s.Dir, "data", "tanba", "outbox"))
	require.NoError(t, err)
	assert.Len(t, outbox, 1, "the database alone")
	uploads, err := os.ReadDir(filepath.Join(s.Dir, "data", "tanba", "uploads"))
	require.NoError(t, err)
	assert.Empty(t, uploads)

	require.NoError(t, syscall.Kill(s.Agent.PID(), syscall.SIGQUIT))
	<-s.Agent.Exited()
	dump, err := os.ReadFile(s.Agent.LogPath)
	require.NoError(t, err)
	n := len(regexp.MustCompile(`(?m)^goroutine \d+ `).FindAll(dump, -1))
	t.Log("goroutines:", n)
	require.Greater(t, n, 3, "the agent said what it was doing")
	assert.Less(t, n, 60)
	for _, busy := range []string{"native.(*socket)", "native.(*Server).start", "approve.(*prompt)", "pages.(*Server).stream", "job.(*Runner)", "delivery.(*Outbox).attempt"} {
		assert.NotContains(t, string(dump), busy, "somebody still works for a page that is gone")
	}
	if t.Failed() {
		t.Log(string(dump[max(0, len(dump)-20000):]))
	}
}
