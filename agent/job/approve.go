package job

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// approve asks the signer. approved is nil when nothing is to be signed.
func (r *Runner) approve(ctx context.Context, ask *Ask) (approved *Approved, answer Answer, err error) {
	answer, err = r.Approver.Approve(ctx, ask)
	ask.mu.Lock()
	defer ask.mu.Unlock()
	ask.ended = true
	keep := false
	defer func() {
		if !keep {
			if cerr := ask.lockAgain(); cerr != nil {
				r.Log.Warn("closing the token session", "err", cerr)
			}
		}
	}()
	if err != nil {
		return nil, Answer{}, r.explain(ctx, ask, err)
	}
	if answer.Later {
		return nil, Answer{}, nil
	}
	documents, err := seen(ask.prepared, answer)
	if err != nil || len(documents) == 0 {
		return nil, answer, err
	}
	if ask.session == nil {
		return nil, Answer{}, Fail(CodeInternal, "", errors.New("approved without an unlocked key"))
	}
	// From here on nobody withdraws the job; who did so just before is heard.
	r.observe(ask.prepared.Request, StepSigning, 0, len(documents))
	if ctx.Err() != nil {
		return nil, Answer{}, Fail(CodeCancelled, "", ctx.Err())
	}
	keep = true
	at := r.Now().UTC().Truncate(time.Second)
	return &Approved{
		prepared: ask.prepared, documents: documents, identity: ask.identity, algorithm: ask.identity.Algorithms[0],
		session: ask.session, at: at, expires: at.Add(approvalLife),
	}, answer, nil
}

// drop closes the session of an approval that comes to nothing; a may be nil.
func (a *Approved) drop(log *slog.Logger) {
	if a == nil {
		return
	}
	if err := a.session.Close(); err != nil {
		log.Warn("closing the token session", "err", err)
	}
}

// seen returns the documents that the answer approves, in the request's
// order, after checking that each was shown as it is and that none is both
// approved and rejected.
func seen(p *Prepared, a Answer) ([]*PreparedDocument, error) {
	byID := map[string]*PreparedDocument{}
	for _, d := range p.Documents {
		byID[d.ID] = d
	}
	approved, rejected := map[string]bool{}, map[string]bool{}
	for _, id := range a.Rejected {
		if byID[id] == nil {
			return nil, Fail(CodeInternal, id, errors.New("rejected what was not asked"))
		}
		rejected[id] = true
	}
	for _, s := range a.Approved {
		d := byID[s.Document]
		if d == nil || d.SHA256 != s.SHA256 || rejected[s.Document] || approved[s.Document] {
			return nil, Fail(CodeInternal, s.Document, errors.New("approved what was not shown"))
		}
		approved[s.Document] = true
	}
	var out []*PreparedDocument
	for _, d := range p.Documents {
		if approved[d.ID] {
			out = append(out, d)
		}
	}
	return out, nil
}

// explain turns a prompt that ended unanswered into the reason the page can
// act on: no token was there, none had a certificate, the PIN is locked.
func (r *Runner) explain(ctx context.Context, ask *Ask, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || (e.Code != CodeClosed && e.Code != CodeTimeout) {
		return err
	}
	if ask.locked {
		return Fail(CodePINLocked, "", err)
	}
	list, lerr := r.Tokens.List(context.WithoutCancel(ctx))
	if lerr != nil {
		return err
	}
	identities := 0
	for _, t := range list {
		identities += len(t.Identities)
	}
	switch {
	case len(list) == 0:
		return Fail(CodeNoToken, "", err)
	case identities == 0:
		return Fail(CodeNoCertificate, "", err)
	}
	return err
}
