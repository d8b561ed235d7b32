package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/cmd/demo/robot"
	"tanba/cmd/demo/stage"
)

// binaries is where TestMain puts tanba and tokenhost.
var binaries string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("the demo is not played in the quick part")
		return
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tanba-demo-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := stage.Build(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		binaries = dir
		return m.Run()
	}())
}

// play starts a demo on ports of its own, and a browser.
func play(t *testing.T, change func(*stage.Options)) (*stage.Stage, *robot.Robot) {
	t.Helper()
	// Not t.TempDir: its long name does not leave room for a socket's.
	dir, err := os.MkdirTemp("", "demo-")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("kept for a look:", dir)
		} else {
			assert.NoError(t, os.RemoveAll(dir))
		}
	})
	o := stage.Options{
		Dir: dir, Binaries: binaries, CatchPrompts: true, Language: "ru", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	o.FirstPort, o.LastPort, err = stage.FreePorts(10)
	require.NoError(t, err)
	if change != nil {
		change(&o)
	}
	s, err := stage.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	r, err := robot.New(context.Background(), robot.Options{Dir: dir, Prompts: s.Prompts, Patience: 45 * time.Second})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return s, r
}

// stranger runs a program of others that must be content.
func stranger(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

func signedFiles(t *testing.T, s *stage.Stage, deal string) map[string]string {
	t.Helper()
	list, err := s.CRM.SignedFiles(t.Context(), deal, t.TempDir())
	require.NoError(t, err)
	paths := map[string]string{}
	for _, f := range list {
		paths[f.Name] = f.Path
	}
	return paths
}

func TestAuto(t *testing.T) {
	dir, err := os.MkdirTemp("", "demo-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), options{Auto: true, Dir: dir, Port: 8700, Lang: "en"}, &out), "%s", &out)

	pdf := filepath.Join(dir, "signed", "supply-contract-D-41-signed.pdf")
	cms := filepath.Join(dir, "signed", "acceptance-note-D-44.txt.ours.p7s")
	assert.Contains(t, out.String(), pdf)
	assert.Contains(t, out.String(), cms)
	stranger(t, "qpdf", "--check", pdf)
	said := stranger(t, "pdfsig", "-nocert", pdf)
	assert.Contains(t, said, "Signature is Valid")
	assert.Contains(t, said, "Total document signed")
	anchors := filepath.Join(dir, "anchors.pem")
	root, err := os.ReadFile(filepath.Join(dir, "pki", "root.pem"))
	require.NoError(t, err)
	ca, err := os.ReadFile(filepath.Join(dir, "pki", "ca.pem"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(anchors, append(root, ca...), 0o600))
	stranger(t, "openssl", "cms", "-verify", "-cades", "-inform", "DER", "-in", cms, "-content", strings.TrimSuffix(cms, ".ours.p7s"), "-binary",
		"-CAfile", anchors, "-purpose", "any", "-out", os.DevNull)
}

func TestEveryWayAndBothParties(t *testing.T) {
	s, r := play(t, nil)
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.SignDeal("42", s.PIN, stage.DirectorName, "signed"), "in chunks")
	require.NoError(t, r.SignDeal("45", s.PIN, stage.DirectorName, "signed"), "a batch by URL")
	assert.Len(t, signedFiles(t, s, "45"), 50)

	require.NoError(t, r.Login(s.URL, "accountant"))
	require.NoError(t, r.SignDeal("43", s.PIN, stage.AccountantName, "signed"), "inline")

	require.NoError(t, r.Login(s.URL, "partner"))
	require.NoError(t, r.SignDeal("42", s.PIN, stage.PartnerName, "both"), "the second signature")
	files := signedFiles(t, s, "42")
	require.Len(t, files, 4)
	said := stranger(t, "pdfsig", "-nocert", files["lease-D-42-signed-by-both.pdf"])
	assert.Equal(t, 2, strings.Count(said, "Signature is Valid"))
	assert.Contains(t, said, stage.DirectorName)
	assert.Contains(t, said, stage.PartnerName)
}

func TestRejectAndWrongPIN(t *testing.T) {
	s, r := play(t, nil)
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Connect())
	require.NoError(t, r.Sign())
	p, err := r.OpenPage()
	require.NoError(t, err)
	require.NoError(t, r.WaitStatus("opened"))
	require.NoError(t, p.Reject("wrong_terms", "Цена не та"))
	p.Close()
	word, _, err := r.Outcome()
	require.NoError(t, err)
	assert.Equal(t, "rejected", word)
	require.NoError(t, r.WaitStatus("rejected"))

	// Once more, with a slip of the finger.
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Sign())
	p, err = r.OpenPage()
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Choose(stage.DirectorName))
	require.NoError(t, p.Enter("00000000"))
	said, err := p.Problem()
	require.NoError(t, err)
	assert.NotEmpty(t, said)
	left, err := s.Tokens.Reader("altyn").TriesLeft()
	require.NoError(t, err)
	assert.Equal(t, 2, left, "one human entry is one try")
	require.NoError(t, p.Enter(s.PIN))
	_, err = p.Ended()
	require.NoError(t, err)
	require.NoError(t, r.WaitStatus("signed"))
}

func TestParkedUntilAFreshBearer(t *testing.T) {
	s, r := play(t, func(o *stage.Options) { o.Bearers = 2 * time.Second })
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("43"))
	require.NoError(t, r.Connect())
	require.NoError(t, r.Sign())
	time.Sleep(2200 * time.Millisecond) // the signer reads longer than the bearer lasts
	require.NoError(t, r.ApprovePrompt(s.PIN, stage.DirectorName))
	word, _, err := r.Outcome()
	require.NoError(t, err)
	require.Equal(t, "parked", word)

	// It is still known after the page was loaded anew.
	require.NoError(t, r.OpenDeal("43"))
	word, _, err = r.Outcome()
	require.NoError(t, err)
	require.Equal(t, "parked", word)
	require.NoError(t, r.Press("again"))
	require.NoError(t, r.WaitStatus("signed"))
	assert.Len(t, signedFiles(t, s, "43"), 1)
}

// hold answers 503 to signed results while it is on.
type hold struct {
	on   atomic.Bool
	held atomic.Int64
}

func (h *hold) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.on.Load() && r.URL.Path == "/tanba/results" && strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
			h.held.Add(1)
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestKilledBetweenSigningAndDelivery(t *testing.T) {
	var h hold
	h.on.Store(true)
	s, r := play(t, func(o *stage.Options) { o.Wrap = h.wrap })
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Connect())
	require.NoError(t, r.Sign())
	p, err := r.OpenPage()
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Choose(stage.DirectorName))
	require.NoError(t, p.Enter(s.PIN))
	require.Eventually(t, func() bool { return h.held.Load() > 0 }, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, s.Agent.Kill9())
	h.on.Store(false)
	require.NoError(t, s.Agent.Start(t.Context()))
	require.NoError(t, r.WaitStatus("signed"))
	assert.Len(t, signedFiles(t, s, "41"), 1)
	n, err := s.Prompts.Waiting()
	require.NoError(t, err)
	assert.Zero(t, n, "nobody is asked a second time")
}

func TestRefusedFileCanBeSignedAgain(t *testing.T) {
	var refuse atomic.Bool
	refuse.Store(true)
	s, r := play(t, func(o *stage.Options) {
		o.Wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/tanba/results" && refuse.Load() && strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
					http.Error(w, "no", http.StatusUnprocessableEntity)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	})
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("44"))
	require.NoError(t, r.Connect())
	require.NoError(t, r.Sign())
	require.NoError(t, r.ApprovePrompt(s.PIN, stage.DirectorName))
	word, _, err := r.Outcome()
	require.NoError(t, err)
	assert.Equal(t, "failed", word)
	refuse.Store(false)
	require.NoError(t, r.SignDeal("44", s.PIN, stage.DirectorName, "signed"), "a new job, a new approval")
}

func TestTokenComesAndGoes(t *testing.T) {
	s, r := play(t, nil)
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Connect())
	require.NoError(t, r.MoveToken("altyn"))
	require.NoError(t, r.MoveToken("baiterek"))
	require.NoError(t, r.WaitAgent("no_token"))
	require.NoError(t, r.Sign(), "a token may come later")
	p, err := r.OpenPage()
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, r.MoveToken("altyn"))
	require.NoError(t, p.Approve(s.PIN, stage.DirectorName))
	require.NoError(t, r.WaitStatus("signed"))
}
