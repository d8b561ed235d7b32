package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/cmd/demo/robot"
	"tanba/cmd/demo/stage"
)

// tally collects the idempotency keys of the signed results that reach the
// CRM, by document. A second key for a document is a second signature.
type tally struct {
	mu  sync.Mutex
	got map[string]map[string]bool
}

func (c *tally) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tanba/results" && strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
			key := r.Header.Get("Idempotency-Key")
			_, document, _ := strings.Cut(strings.Trim(key, `"`), ":")
			c.mu.Lock()
			if c.got == nil {
				c.got = map[string]map[string]bool{}
			}
			if c.got[document] == nil {
				c.got[document] = map[string]bool{}
			}
			c.got[document][key] = true
			c.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func (c *tally) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// once asserts that n documents came, each signed once.
func (c *tally) once(t *testing.T, n int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	assert.Len(t, c.got, n)
	for d, keys := range c.got {
		assert.Len(t, keys, 1, "document %s was signed once", d)
	}
}

// begin opens a deal, connects, presses Sign and returns the prompt with the
// director's certificate chosen.
func begin(t *testing.T, s *stage.Stage, r *robot.Robot, deal string) *robot.Page {
	t.Helper()
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal(deal))
	status, err := r.AgentStatus()
	require.NoError(t, err)
	if status == "site_not_allowed" {
		require.NoError(t, r.Connect())
	}
	require.NoError(t, r.Sign())
	p, err := r.OpenPage()
	require.NoError(t, err)
	t.Cleanup(p.Close)
	require.NoError(t, p.Choose(stage.DirectorName))
	return p
}

// outcome waits for the CRM page's word for the end, and checks it.
func outcome(t *testing.T, r *robot.Robot, want string) string {
	t.Helper()
	word, said, err := r.Outcome()
	require.NoError(t, err)
	require.Equal(t, want, word, said)
	return said
}

func TestTokenPulledInABatch(t *testing.T) {
	var c tally
	s, r := play(t, func(o *stage.Options) { o.Wrap = c.wrap })
	token := s.Tokens.Reader("altyn")
	require.NoError(t, token.Fault("removed@20"))
	p := begin(t, s, r, "45")
	require.NoError(t, p.Enter(s.PIN))
	said, err := p.Ended()
	require.NoError(t, err)
	assert.Contains(t, said, "Токен вынули")
	outcome(t, r, "failed")
	// Those that the token was busy with when it went are not among them.
	n := c.count()
	require.Greater(t, n, 10)
	require.Less(t, n, 20)
	assert.Contains(t, said, fmt.Sprintf("%d из 50", n), "the page says how many are signed")
	c.once(t, n)

	require.NoError(t, token.Fault(""))
	require.NoError(t, token.Insert())
	require.NoError(t, r.SignDeal("45", s.PIN, stage.DirectorName, "signed"), "the rest")
	c.once(t, 50)
	assert.Len(t, signedFiles(t, s, "45"), 50)
}

// The agent is killed in the middle of a batch: what it had kept arrives after
// the next start, the rest is signed when the signer says so again.
func TestKilledInABatch(t *testing.T) {
	var c tally
	s, r := play(t, func(o *stage.Options) { o.Wrap = c.wrap })
	token := s.Tokens.Reader("altyn")
	require.NoError(t, token.Fault("delay:100"))
	p := begin(t, s, r, "45")
	require.NoError(t, p.Enter(s.PIN))
	require.Eventually(t, func() bool { return c.count() > 2 }, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, s.Agent.Kill9())
	require.NoError(t, token.Fault(""))
	require.Less(t, c.count(), 50)
	said, err := p.Ended()
	require.NoError(t, err)
	assert.Contains(t, said, "Tanba не отвечает")
	require.NoError(t, r.WaitAgent("not_installed"))

	require.NoError(t, s.Agent.Start(t.Context()))
	require.NoError(t, r.SignDeal("45", s.PIN, stage.DirectorName, "signed"))
	c.once(t, 50)
	assert.Len(t, signedFiles(t, s, "45"), 50)
}

// Each fault of a library ends with its own words, costs one document, and
// leaves the agent fit for the next request.
func TestFaultyLibrary(t *testing.T) {
	for name, f := range map[string]struct{ order, says, page string }{
		"it crashes":              {"segv", "Токен не ответил", "token or the document"},
		"it hangs":                {"hang", "Токен не ответил", "token or the document"},
		"it fails":                {"deverr", "Токен не ответил", "token or the document"},
		"it makes bad signatures": {"badsig", "не прошла проверку", "token or the document"},
	} {
		t.Run(name, func(t *testing.T) {
			var c tally
			s, r := play(t, func(o *stage.Options) {
				o.Wrap, o.Config = c.wrap, "[limits]\nsign = \"3s\"\n"
			})
			token := s.Tokens.Reader("altyn")
			require.NoError(t, token.Fault(f.order))
			p := begin(t, s, r, "41")
			pid := s.Agent.PID()
			require.NoError(t, p.Enter(s.PIN))
			said, err := p.Ended()
			require.NoError(t, err)
			assert.Contains(t, said, f.says)
			assert.Contains(t, outcome(t, r, "failed"), f.page)
			require.NoError(t, r.WaitStatus("opened"))
			c.once(t, 0)

			require.NoError(t, token.Fault(""))
			require.NoError(t, r.SignDeal("41", s.PIN, stage.DirectorName, "signed"))
			c.once(t, 1)
			assert.Equal(t, pid, s.Agent.PID())
			select {
			case <-s.Agent.Exited():
				t.Error("the agent has ended")
			default:
			}
		})
	}
}

func TestPINLocked(t *testing.T) {
	s, r := play(t, nil)
	token := s.Tokens.Reader("altyn")
	p := begin(t, s, r, "41")
	for left := 2; left >= 0; left-- {
		if left == 0 {
			require.NoError(t, chromedp.Do(p.Tab(), chromedp.Click(chromedp.CSS("#final-tick"))), "the last try needs a tick")
		}
		require.NoError(t, p.Enter(fmt.Sprintf("0000000%d", left)))
		require.Eventually(t, func() bool {
			n, err := token.TriesLeft()
			return err == nil && n == left
		}, 10*time.Second, 20*time.Millisecond)
		said, err := p.Problem()
		require.NoError(t, err)
		assert.NotEmpty(t, said)
	}
	assert.Contains(t, text(t, p, "заблокирован"), "заблокирован")
	assert.False(t, enabled(t, p, "#sign"), "a locked token is not offered another PIN")
	require.NoError(t, p.Later())
	n, err := token.TriesLeft()
	require.NoError(t, err)
	assert.Zero(t, n)

	require.NoError(t, token.Unlock())
	outcome(t, r, "left")
	require.NoError(t, r.SignDeal("41", s.PIN, stage.DirectorName, "signed"))
}

// enabled says whether a button of a page of ours can be pressed.
func enabled(t *testing.T, p *robot.Page, css string) bool {
	t.Helper()
	ok, err := chromedp.Run(p.Tab(), chromedp.Evaluate[bool](
		fmt.Sprintf(`document.querySelector(%q)?.getAttribute('aria-disabled') === 'false'`, css)))
	require.NoError(t, err)
	return ok
}

func TestTokenPulledBeforeThePrompt(t *testing.T) {
	var c tally
	s, r := play(t, func(o *stage.Options) { o.Wrap = c.wrap })
	token := s.Tokens.Reader("altyn")
	p := begin(t, s, r, "41")
	require.NoError(t, token.Pull())
	require.Eventually(t, func() bool {
		gone, err := chromedp.Run(p.Tab(), chromedp.Evaluate[bool](`document.querySelector('.identity') === null`))
		return err == nil && gone
	}, 15*time.Second, 50*time.Millisecond, "its certificates go from the prompt")
	assert.False(t, enabled(t, p, "#sign"))
	require.NoError(t, token.Insert())
	require.NoError(t, p.Approve(s.PIN, stage.DirectorName))
	outcome(t, r, "signed")
	c.once(t, 1)
}

func TestPromptLoadedAgain(t *testing.T) {
	s, r := play(t, nil)
	p := begin(t, s, r, "41")
	require.NoError(t, chromedp.Do(p.Tab(), chromedp.Reload()))
	said, err := p.Ended()
	require.NoError(t, err)
	assert.Contains(t, said, "cannot be opened a second time") // in the browser's language: nothing else is known
	assert.Contains(t, said, "click the Tanba icon", "and what to do")

	// The tray's menu, or a second start, opens it again.
	require.NoError(t, s.Agent.Command(t.Context()).Run())
	again, err := r.OpenPage()
	require.NoError(t, err)
	defer again.Close()
	require.NoError(t, again.Approve(s.PIN, stage.DirectorName))
	outcome(t, r, "signed")
}

func TestCRMPageLoadedAgain(t *testing.T) {
	var c tally
	s, r := play(t, func(o *stage.Options) { o.Wrap = c.wrap })
	p := begin(t, s, r, "41")
	require.NoError(t, r.OpenDeal("41"), "the page that asked is loaded again")
	require.NoError(t, p.Approve(s.PIN, stage.DirectorName))
	require.NoError(t, r.WaitStatus("signed"))
	c.once(t, 1)
	n, err := s.Prompts.Waiting()
	require.NoError(t, err)
	assert.Zero(t, n, "nobody is asked a second time")
}

func TestPromptClosed(t *testing.T) {
	s, r := play(t, nil)
	p := begin(t, s, r, "41")
	p.Close()
	assert.Contains(t, outcome(t, r, "failed"), "Nothing was signed")
	require.NoError(t, r.SignDeal("41", s.PIN, stage.DirectorName, "signed"))
}

func TestNobodyAnswers(t *testing.T) {
	s, r := play(t, func(o *stage.Options) { o.Config = "[limits]\nprompt = \"6s\"\n" })
	p := begin(t, s, r, "41")
	said, err := p.Ended()
	require.NoError(t, err)
	assert.Contains(t, said, "Время вышло")
	assert.Contains(t, outcome(t, r, "failed"), "Nothing was signed")
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.SignDeal("41", s.PIN, stage.DirectorName, "signed"))
}

// The page withdraws the job while the signer reads: the prompt ends, and what
// the signer still does on it comes to nothing.
func TestWithdrawn(t *testing.T) {
	var c tally
	s, r := play(t, func(o *stage.Options) { o.Wrap = c.wrap })
	p := begin(t, s, r, "41")
	require.NoError(t, r.Press("cancel"))
	said, err := p.Ended()
	require.NoError(t, err)
	assert.Contains(t, said, "отозвал")
	outcome(t, r, "failed")
	c.once(t, 0)
	require.NoError(t, r.SignDeal("41", s.PIN, stage.DirectorName, "signed"))
	c.once(t, 1)
}
