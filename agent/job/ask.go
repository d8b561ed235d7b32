package job

import (
	"context"
	"errors"
	"slices"
	"sync"

	"tanba/crypto/cert"
	"tanba/tokens"
)

// An Ask is one question to the signer: the prepared job, and the means to
// find and unlock a key. An Approver uses it from any goroutine until its
// Approve returns.
type Ask struct {
	prepared *Prepared
	runner   *Runner
	batch    Batch

	mu       sync.Mutex
	opened   bool
	session  tokens.Session
	identity tokens.Identity
	locked   bool // the last PIN found the token locked
	ended    bool // Approve has returned
}

// Prepared returns what is asked for.
func (a *Ask) Prepared() *Prepared { return a.prepared }

// Tokens returns the tokens that are present now.
func (a *Ask) Tokens(ctx context.Context) ([]tokens.Token, error) { return a.runner.Tokens.List(ctx) }

// Changes is Tokens.Changes.
func (a *Ask) Changes() (<-chan struct{}, func()) { return a.runner.Tokens.Changes() }

// A Misfit says why an identity cannot be chosen for a job; empty: it can.
// The values of cert.Problem are misfits too.
type Misfit string

// The misfits beyond cert.Problem.
const (
	OtherPerson       Misfit = "other_person"       // Filter.IIN
	OtherOrganization Misfit = "other_organization" // Filter.BIN
	OtherCertificate  Misfit = "other_certificate"  // Filter.Fingerprints
	OtherRole         Misfit = "other_role"         // Filter.Roles
	Unusable          Misfit = "unusable_key"       // Identity.Problem
)

// Fit says whether id may sign this job, and if not why.
func (a *Ask) Fit(id tokens.Identity) Misfit {
	c, f := id.Certificate, a.prepared.Request.Filter
	switch {
	case c.ProblemAt(a.runner.Now()) != cert.NoProblem:
		return Misfit(c.ProblemAt(a.runner.Now()))
	case len(id.Algorithms) == 0:
		return Unusable
	case len(f.Fingerprints) > 0 && !slices.Contains(f.Fingerprints, c.Fingerprint()):
		return OtherCertificate
	case f.IIN != "" && f.IIN != c.Profile.IIN:
		return OtherPerson
	case f.BIN != "" && f.BIN != c.Profile.BIN:
		return OtherOrganization
	case len(f.Roles) > 0 && !slices.Contains(f.Roles, c.Profile.Role):
		return OtherRole
	}
	return ""
}

// Opened tells that the prompt is before the signer. The CRM learns it once.
func (a *Ask) Opened(ctx context.Context) {
	a.mu.Lock()
	first := !a.opened
	a.opened = true
	a.mu.Unlock()
	if !first {
		return
	}
	a.runner.observe(a.prepared.Request, StepOpened, 0, len(a.prepared.Documents))
	if err := a.batch.Opened(ctx, a.prepared); err != nil {
		a.runner.Log.Warn("opened not queued", "job", a.prepared.Request.ID, "err", err)
	}
}

// Unlock offers pin to the token of the identity, once. On success the session
// stays open for the signatures of this job; a session unlocked before is
// closed. It returns a *tokens.PINError for a refused PIN and ErrUnfit for an
// identity that may not sign this job. It wipes pin.
func (a *Ask) Unlock(ctx context.Context, identityID string, pin tokens.PIN) error {
	defer pin.Wipe()
	list, err := a.Tokens(ctx)
	if err != nil {
		return err
	}
	id, ok := findIdentity(list, identityID)
	if !ok {
		return tokens.ErrNotPresent
	}
	if a.Fit(id) != "" {
		return ErrUnfit
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return context.Canceled
	}
	if err := a.lockAgain(); err != nil {
		a.runner.Log.Warn("closing the earlier session", "err", err)
	}
	s, err := a.runner.Tokens.Open(ctx, identityID)
	if err != nil {
		return err
	}
	if err := s.Login(ctx, pin); err != nil {
		if p, ok := errors.AsType[*tokens.PINError](err); ok {
			a.locked = p.Reason == tokens.PINIsGone || p.State == tokens.PINLocked
		}
		return errors.Join(err, s.Close())
	}
	a.session, a.identity, a.locked = s, id, false
	return nil
}

// lockAgain closes the unlocked session, if there is one. a.mu is held.
func (a *Ask) lockAgain() error {
	if a.session == nil {
		return nil
	}
	err := a.session.Close()
	a.session = nil
	return err
}

func findIdentity(list []tokens.Token, id string) (tokens.Identity, bool) {
	for _, t := range list {
		for _, i := range t.Identities {
			if i.ID == id {
				return i, true
			}
		}
	}
	return tokens.Identity{}, false
}
