package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"tanba/tokens"
)

// sign makes, assembles, verifies and commits the signatures of a, in one trip
// to the token. It returns the code of each document that could not be
// signed; what was committed before a failure stays.
func (r *Runner) sign(ctx context.Context, a *Approved, batch Batch, log *slog.Logger) map[string]Code {
	defer a.drop(log)
	failed := map[string]Code{}
	total := len(a.documents)
	if r.Now().After(a.expires) {
		return failAll(failed, a.documents, CodeTimeout)
	}
	pending, digests, documents := r.begin(ctx, a, failed, log)
	g := group{ctx: ctx, batch: batch, since: r.Now(), now: r.Now}
	next, done := 0, len(failed)
	for sig, err := range a.session.Sign(ctx, a.algorithm, digests) {
		if err == nil && next >= len(pending) {
			err = fmt.Errorf("more signatures than digests: %w", tokens.ErrLibrary)
		}
		var s *Signed
		storing := false
		if err == nil {
			s, err = pending[next].Finish(ctx, sig, batch.Out())
		}
		if err == nil {
			s.At, s.Certificate = a.at, a.identity.Certificate
			next++
			err, storing = g.add(s), true
		}
		if err != nil {
			log.Warn("signing stopped", "done", next, "of", total, "err", err)
			code := tokenCode(err)
			if storing {
				code = asError(err).Code
			}
			failAll(failed, documents[min(next, len(documents)):], code)
			break
		}
		done++
		r.observe(a.prepared.Request, StepSigning, done, total)
	}
	if err := g.flush(); err != nil {
		log.Error("signed documents not stored", "err", err)
	}
	for d, err := range g.lost {
		failed[d] = asError(err).Code
	}
	for _, d := range documents[min(next, len(documents)):] {
		if _, told := failed[d.ID]; !told {
			failed[d.ID] = CodeTokenFailed // the token ended early without an error
		}
	}
	return failed
}

// begin computes what the token must sign, several documents at a time: until
// it is done the token waits. A document that fails is put into failed and left
// out.
func (r *Runner) begin(ctx context.Context, a *Approved, failed map[string]Code, log *slog.Logger) (pending []Pending, digests [][]byte, documents []*PreparedDocument) {
	begun, errs := make([]Pending, len(a.documents)), make([]error, len(a.documents))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(a.documents)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(a.documents); i = int(next.Add(1)) - 1 {
				begun[i], errs[i] = r.beginOne(ctx, a, a.documents[i])
			}
		})
	}
	workers.Wait()
	for i, d := range a.documents {
		if errs[i] != nil {
			log.Warn("signature not begun", "document", d.ID, "err", errs[i])
			failed[d.ID] = asError(errs[i]).Code
			continue
		}
		pending, digests, documents = append(pending, begun[i]), append(digests, begun[i].Digest()), append(documents, d)
	}
	return pending, digests, documents
}

// beginOne begins one document. One over which the assembler stumbles costs
// itself alone.
func (r *Runner) beginOne(ctx context.Context, a *Approved, d *PreparedDocument) (p Pending, err error) {
	defer func() {
		if v := recover(); v != nil {
			r.Log.Error("assembler panicked", "document", d.ID, "stack", string(debug.Stack()))
			p, err = nil, Fail(CodeInternal, d.ID, errors.New("panic"))
		}
	}()
	return r.Assembler.Begin(ctx, d, a.identity, a.algorithm, a.at)
}

// A group collects signed documents for one commit.
type group struct {
	ctx    context.Context
	batch  Batch
	now    func() time.Time
	since  time.Time
	signed []*Signed
	lost   map[string]error // by document: signed and not stored
}

func (g *group) add(s *Signed) error {
	g.signed = append(g.signed, s)
	if len(g.signed) < commitEvery && g.now().Sub(g.since) < commitAfter {
		return nil
	}
	return g.flush()
}

func (g *group) flush() error {
	if len(g.signed) == 0 {
		return nil
	}
	err := g.batch.Commit(g.ctx, g.signed)
	if err != nil && g.lost == nil {
		g.lost = map[string]error{}
	}
	if err != nil {
		for _, s := range g.signed {
			g.lost[s.Document.ID] = err
		}
	}
	g.signed, g.since = nil, g.now()
	return err
}

func failAll(failed map[string]Code, ds []*PreparedDocument, code Code) map[string]Code {
	for _, d := range ds {
		failed[d.ID] = code
	}
	return failed
}

// tokenCode is the code of an error while signing.
func tokenCode(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	switch {
	case errors.Is(err, tokens.ErrRemoved), errors.Is(err, tokens.ErrNotPresent):
		return CodeTokenRemoved
	case errors.Is(err, tokens.ErrBadSignature):
		return CodeVerify
	case diskFull(err):
		return CodeDisk
	}
	return CodeTokenFailed
}
