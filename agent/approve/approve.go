// Package approve is the prompt: the one place where the signer sees what is
// to be signed, for whom and with which certificate, and says yes or no.
//
// It runs in a page of agent/pages. The page only shows and asks; what counts
// is decided here: the list of digests that was on the screen must be the
// job's, the approval must come at least a second after the page was last
// visible and focused, one PIN entry is one login, and a token on its last
// try needs a tick of its own. Nothing is remembered from one prompt to the
// next.
package approve

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"tanba/agent/job"
	"tanba/agent/pages"
	"tanba/agent/policy"
	"tanba/agent/text"
	"tanba/tokens"
)

//go:embed assets
var assets embed.FS

// Config is what an Approver needs.
type Config struct {
	Pages *pages.Server
	// Lang is the signer's language when a prompt opens.
	Lang   func() text.Lang
	Limits policy.Limits
	// PINEntry is the policy's: unless it is "page" or empty, only tokens whose
	// PIN is typed on the reader can be chosen.
	PINEntry string
	// Changed is told, if set, the number of prompts that wait for the signer
	// each time it changes. It must not block.
	Changed func(waiting int)
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

// An Approver asks the signer by a page. It implements job.Approver; its
// methods may be called from several goroutines.
type Approver struct {
	cfg   Config
	queue *queue

	mu      sync.Mutex
	working map[jobKey]*prompt // answered, their page still open
}

type jobKey struct{ origin, job string }

// The most prompts that are open at once, over all sites: a browser has six
// connections to one host, and every page holds one.
const maxOpen = 4

// How long the page of an approved job is kept without news of it.
const workIdle = 15 * time.Minute

// New returns an Approver.
func New(cfg Config) *Approver {
	a := &Approver{cfg: cfg, working: map[jobKey]*prompt{}}
	a.queue = &queue{max: cfg.Limits.Queue, open: maxOpen, shown: map[string]*ticket{}, changed: cfg.Changed}
	return a
}

// question is what a prompt needs of *job.Ask.
type question interface {
	Prepared() *job.Prepared
	Tokens(ctx context.Context) ([]tokens.Token, error)
	Changes() (<-chan struct{}, func())
	Fit(id tokens.Identity) job.Misfit
	Opened(ctx context.Context)
	Unlock(ctx context.Context, identityID string, pin tokens.PIN) error
}

var _ question = (*job.Ask)(nil)

// Approve implements job.Approver. Besides the errors named there it returns
// CodeBusy when too many prompts wait already.
func (a *Approver) Approve(ctx context.Context, ask *job.Ask) (job.Answer, error) {
	return a.approve(ctx, ask)
}

// Waiting returns the number of prompts that wait for the signer.
func (a *Approver) Waiting() int { return a.queue.waiting() }

// Reopen opens the prompt that has waited longest in a new tab; its earlier
// tab ends. It does nothing when none waits.
func (a *Approver) Reopen(ctx context.Context) error {
	sh := a.queue.oldest()
	if sh == nil {
		return nil
	}
	return sh.Reopen(ctx)
}

// Progress shows how far an answered job is on its page, if that is still
// open. It does not block: Runner.Observe may call it.
func (a *Approver) Progress(origin string, p job.Progress) {
	pr := a.find(origin, p.Job)
	switch {
	case pr == nil:
	case pr.rejecting && p.Step == job.StepDelivering: // it is kept
		a.drop(pr)
		pr.end("rejected")
	default:
		pr.idle.Reset(workIdle)
		pr.progress(p)
	}
}

// Ended shows on the page of an answered job, if it is still open, how the
// job ended: what Runner.Run returned.
func (a *Approver) Ended(origin, jobID string, r job.Receipt, err error) {
	if pr := a.find(origin, jobID); pr != nil {
		a.drop(pr)
		pr.finish(r, err)
	}
}

func (a *Approver) find(origin, jobID string) *prompt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.working[jobKey{origin, jobID}]
}

// keep keeps the page of an answered job for its progress.
func (a *Approver) keep(pr *prompt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.working[pr.key()] = pr
	pr.idle = time.AfterFunc(workIdle, func() {
		a.drop(pr)
		pr.shown.End()
	})
}

func (a *Approver) drop(pr *prompt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.working[pr.key()] == pr {
		delete(a.working, pr.key())
		pr.idle.Stop()
	}
}

// folder returns the assets of one page.
func folder(name string) fs.FS {
	sub, err := fs.Sub(assets, "assets/"+name)
	if err != nil {
		panic(err) // embedded
	}
	return sub
}

// wordTables returns the words of a page in every language: the signer may
// switch without asking us.
func wordTables() map[text.Lang]map[text.Key]string {
	m := map[text.Lang]map[text.Key]string{}
	for _, l := range text.Langs {
		m[l] = map[text.Key]string{}
		for _, prefix := range []string{"common.", "page.", "prompt.", "access.", "trouble."} {
			for k, s := range text.Table(l, prefix) {
				m[l][k] = s
			}
		}
	}
	return m
}
