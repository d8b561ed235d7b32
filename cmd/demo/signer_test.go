package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/cmd/demo/robot"
	"tanba/cmd/demo/stage"
)

// text waits until the page shows want, and returns all that it shows.
func text(t *testing.T, p *robot.Page, want string) string {
	t.Helper()
	got := ""
	require.Eventually(t, func() bool {
		var err error
		got, err = chromedp.Run(p.Tab(), chromedp.Evaluate[string]("document.body.innerText"))
		return err == nil && strings.Contains(got, want)
	}, 20*time.Second, 50*time.Millisecond, "the page shows %q", want)
	return got
}

func TestSignersOwnPage(t *testing.T) {
	var h hold
	h.on.Store(true)
	s, r := play(t, func(o *stage.Options) { o.Wrap = h.wrap })
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Connect())
	require.NoError(t, r.Sign())
	require.NoError(t, s.Agent.Command(t.Context()).Run(), "a second start shows the prompt that waits")
	first, err := r.OpenPage()
	require.NoError(t, err)
	defer first.Close()
	second, err := r.OpenPage()
	require.NoError(t, err)
	defer second.Close()
	require.NoError(t, second.Choose(stage.DirectorName), "the prompt went to the second tab")
	require.NoError(t, second.Enter(s.PIN))
	require.Eventually(t, func() bool { return h.held.Load() > 0 }, 30*time.Second, 20*time.Millisecond)

	out, err := s.Agent.Command(t.Context(), "outbox", "list").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "supply-contract-D-41")
	out, err = s.Agent.Command(t.Context(), "sites", "list").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), s.URL)

	require.NoError(t, s.Agent.Command(t.Context()).Run(), "with no prompt waiting, a second start shows the signer's page")
	desk, err := r.OpenPage()
	require.NoError(t, err)
	defer desk.Close()
	said := text(t, desk, "Altyn Metall")
	assert.Contains(t, said, stage.DirectorName)
	assert.Contains(t, said, stage.AccountantName)
	require.NoError(t, s.Tokens.Pull("altyn"))
	require.Eventually(t, func() bool {
		got, err := chromedp.Run(desk.Tab(), chromedp.Evaluate[string]("document.body.innerText"))
		return err == nil && !strings.Contains(got, stage.DirectorName)
	}, 10*time.Second, 50*time.Millisecond, "a pulled token goes from the page")
	require.NoError(t, s.Tokens.Insert("altyn"))
	text(t, desk, stage.DirectorName)

	tab := func(name string) {
		require.NoError(t, chromedp.Do(desk.Tab(), chromedp.Click(chromedp.CSS("#tab-"+name))))
	}
	picture := func(name string) {
		if dir := os.Getenv("TANBA_PICTURES"); dir != "" {
			path, err := desk.Picture(name)
			require.NoError(t, err)
			require.NoError(t, os.Rename(path, filepath.Join(dir, name+".png")))
		}
	}
	picture("desk-tokens")
	tab("outbox")
	text(t, desk, "supply-contract-D-41")
	picture("desk-outbox")
	tab("about")
	picture("desk-about")
	text(t, desk, s.URL)
	h.on.Store(false)
	tab("outbox")
	require.NoError(t, chromedp.Do(desk.Tab(), chromedp.Click(chromedp.CSS(".item .button"))))
	require.NoError(t, r.WaitStatus("signed"))
	text(t, desk, "Всё отправлено")
	assert.Len(t, signedFiles(t, s, "41"), 1)
}

// Everything is run at the highest log level; then every file that was
// written is searched for what must be in none of them.
func TestNothingPersonalLeaks(t *testing.T) {
	s, r := play(t, func(o *stage.Options) { o.Config = "log_level = \"debug\"\n" })
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("44"))
	require.NoError(t, r.Connect())
	require.NoError(t, r.Sign())
	p, err := r.OpenPage()
	require.NoError(t, err)
	require.NoError(t, p.Choose(stage.DirectorName))
	require.NoError(t, p.Enter("98989898"))
	_, err = p.Problem()
	require.NoError(t, err)
	require.NoError(t, p.Enter(s.PIN))
	_, err = p.Ended()
	require.NoError(t, err)
	p.Close()
	require.NoError(t, r.WaitStatus("signed"))
	require.NoError(t, r.SignDeal("42", s.PIN, stage.DirectorName, "signed"))
	require.NoError(t, r.OpenDeal("43"))
	require.NoError(t, r.Sign())
	require.NoError(t, r.RejectPrompt("other", "кабанарея"))
	require.NoError(t, r.WaitStatus("rejected"))
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}, {"outbox", "list"}} {
		out, _ := s.Agent.Command(t.Context(), args...).CombinedOutput() // doctor may find something
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "state", "said-"+strings.Join(args, "-")), out, 0o600))
	}
	bundle := filepath.Join(s.Dir, "state", "bundle.zip")
	out, err := s.Agent.Command(t.Context(), "--config", filepath.Join(s.Dir, "tanba.toml"), "doctor", "--bundle", bundle).Output()
	require.NoError(t, err)
	shown := out[bytes.Index(out, []byte("The bundle")):]
	for _, c := range []string{"АХМЕТОВ", "Altyn Metall", "800101300123", s.PIN} {
		assert.NotContains(t, string(shown), c, "the bundle names nobody")
	}
	assert.Contains(t, string(shown), "soft token")
	require.FileExists(t, bundle)
	require.NoError(t, s.Agent.Stop())

	secret := [][]byte{[]byte("98989898"), []byte(s.PIN)}
	personal := [][]byte{
		[]byte(stage.DirectorName), []byte("АХМЕТОВ"), []byte("800101300123"), []byte("123456789013"), []byte("кабанарея"),
		[]byte("ACCEPTANCE NOTE"), []byte("Warehouse 7"), []byte("acceptance-note"), []byte("lease-D-42"), []byte("%PDF-"),
	}
	searched := 0
	for _, d := range []string{"home", "config", "data", "state", "cache", "run"} {
		root := filepath.Join(s.Dir, d)
		require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			searched++
			for _, c := range secret {
				lookFor(t, path, b, c)
			}
			// The outbox may hold documents and names.
			if !strings.HasPrefix(path, filepath.Join(s.Dir, "data", "tanba", "outbox")) {
				for _, c := range personal {
					lookFor(t, path, b, c)
				}
			}
			st, err := e.Info()
			if err == nil {
				assert.Zero(t, st.Mode().Perm()&0o077, "%s is for the user alone", path)
			}
			return err
		}))
	}
	require.Greater(t, searched, 4)
	log, err := os.ReadFile(filepath.Join(s.Dir, "state", "tanba", "tanba.log"))
	require.NoError(t, err)
	assert.Contains(t, string(log), "DEBUG", "the highest level was on")
	uploads, err := os.ReadDir(filepath.Join(s.Dir, "data", "tanba", "uploads"))
	require.NoError(t, err)
	assert.Empty(t, uploads)
}

// lookFor looks for a canary as it is and in the usual disguises.
func lookFor(t *testing.T, path string, b, canary []byte) {
	for _, form := range [][]byte{canary, []byte(hex.EncodeToString(canary)), []byte(base64.StdEncoding.EncodeToString(canary)[:len(canary)/3*4])} {
		assert.False(t, bytes.Contains(b, form), "%s holds %q", path, canary)
	}
}
