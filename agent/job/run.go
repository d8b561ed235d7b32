package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tanba/agent/policy"
	"tanba/tokens"
)

// ErrUnfit reports an identity that may not sign this job; Ask.Fit says why.
var ErrUnfit = errors.New("certificate does not fit the request")

// The times of a job that no limit of policy names.
const (
	// approvalLife is how long an approval may wait for its signatures to begin.
	approvalLife = 2 * time.Minute
	// AnswerWait is how long Run waits for deliveries before it answers the page.
	AnswerWait = 30 * time.Second
	// commitEvery and commitAfter group signed documents into one fsync.
	commitEvery = 64
	commitAfter = 500 * time.Millisecond
)

// A Runner takes requests through every step. Its fields are set once. Run
// may be called from many goroutines.
type Runner struct {
	Preparer  Preparer
	Approver  Approver
	Assembler Assembler
	Outbox    Outbox
	Tokens    Tokens
	Limits    policy.Limits
	// Now is the clock.
	Now func() time.Time
	// Observe is told how far a job is; it must not block. It may be nil.
	Observe func(origin string, p Progress)
	Log     *slog.Logger

	mu      sync.Mutex
	running map[string]bool
}

// Run takes req through every step and returns how each document ended, in
// the order of the request. Until the signer has approved, ctx ends the job;
// after that it is carried to its end even if the page has gone. A document
// that was signed or rejected before under the same origin, job and document
// ID is not shown or signed again: its receipt is returned. Errors are *Error.
func (r *Runner) Run(ctx context.Context, req Request) (Receipt, error) {
	if err := check(&req, r.Limits); err != nil {
		return Receipt{}, err
	}
	release, err := r.claim(req)
	if err != nil {
		return Receipt{}, err
	}
	defer release()
	log := r.Log.With("job", req.ID, "origin", req.Origin)
	receipt, err := r.run(ctx, req, log)
	if err != nil {
		log.Info("job ended without a result", "err", err)
		return Receipt{}, asError(err)
	}
	r.observe(req, StepDone, len(receipt.Documents), len(receipt.Documents))
	log.Info("job done", "documents", len(receipt.Documents))
	return receipt, nil
}

func (r *Runner) run(ctx context.Context, req Request, log *slog.Logger) (Receipt, error) {
	batch, err := r.Outbox.Begin(ctx, req)
	if err != nil {
		return Receipt{}, err
	}
	defer func() {
		if err := batch.Close(); err != nil {
			log.Warn("closing the batch", "err", err)
		}
	}()
	r.observe(req, StepPreparing, 0, len(req.Documents))
	prepared, err := r.Preparer.Prepare(ctx, req, batch.Work())
	if err != nil {
		return Receipt{}, err
	}
	if err := r.dropFinished(prepared); err != nil {
		return Receipt{}, err
	}
	if err := r.unpark(ctx, req); err != nil {
		return Receipt{}, err
	}
	ended := map[string]DocumentReceipt{}
	if len(prepared.Documents) > 0 {
		if err := batch.Reserve(ctx, room(prepared)); err != nil {
			return Receipt{}, err
		}
		ask := &Ask{prepared: prepared, runner: r, batch: batch}
		approved, answer, err := r.approve(ctx, ask)
		if err != nil {
			return Receipt{}, err
		}
		ctx = context.WithoutCancel(ctx)
		if len(answer.Rejected) > 0 {
			if err := batch.Reject(ctx, prepared, answer.Rejected, answer.Reason, answer.Text, r.Now().UTC()); err != nil {
				return Receipt{}, err
			}
		}
		for _, d := range prepared.Documents {
			ended[d.ID] = DocumentReceipt{ID: d.ID, State: Left}
		}
		if approved != nil {
			for id, code := range r.sign(ctx, approved, batch, log) {
				ended[id] = DocumentReceipt{ID: id, State: Failed, Code: code}
			}
		}
	}
	return r.receipt(context.WithoutCancel(ctx), req, ended)
}

// claim marks the job as running; a second run of the same job is refused.
func (r *Runner) claim(req Request) (release func(), err error) {
	key := req.Origin + " " + req.ID
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[key] {
		return nil, Fail(CodeRunning, "", nil)
	}
	if r.running == nil {
		r.running = map[string]bool{}
	}
	r.running[key] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.running, key)
	}, nil
}

// Running reports whether the job is under way.
func (r *Runner) Running(origin, job string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running[origin+" "+job]
}

// dropFinished takes out of p what an earlier run of the same job has signed
// or rejected. The same ID with other bytes is an error.
func (r *Runner) dropFinished(p *Prepared) error {
	_, originals, ok, err := r.Outbox.Find(p.Request.Origin, p.Request.ID)
	if err != nil || !ok {
		return err
	}
	var rest []*PreparedDocument
	for _, d := range p.Documents {
		sum, done := originals[d.ID]
		switch {
		case !done:
			rest = append(rest, d)
		case sum != d.SHA256:
			return Fail(CodeReused, d.ID, nil)
		}
	}
	p.Documents = rest
	return nil
}

// unpark hands the bearer of a job that came again to results that wait for
// one.
func (r *Runner) unpark(ctx context.Context, req Request) error {
	kept, _, ok, err := r.Outbox.Find(req.Origin, req.ID)
	if err != nil || !ok {
		return err
	}
	for _, d := range kept.Documents {
		if d.State == Parked {
			return r.Outbox.Redeliver(ctx, req.Origin, req.ID, req.Delivery)
		}
	}
	return nil
}

// room is the bytes that the signed files of p may take.
func room(p *Prepared) int64 {
	var n int64
	for _, d := range p.Documents {
		n += 64 << 10
		if d.Format == PAdES || d.Attached {
			n += d.Size
		}
	}
	return n
}

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
	keep = true
	at := r.Now().UTC().Truncate(time.Second)
	return &Approved{
		prepared: ask.prepared, documents: documents, identity: ask.identity, algorithm: ask.identity.Algorithms[0],
		session: ask.session, at: at, expires: at.Add(approvalLife),
	}, answer, nil
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

// sign makes, assembles, verifies and commits the signatures of a, in one trip
// to the token. It returns the code of each document that could not be
// signed; what was committed before a failure stays.
func (r *Runner) sign(ctx context.Context, a *Approved, batch Batch, log *slog.Logger) map[string]Code {
	defer func() {
		if err := a.session.Close(); err != nil {
			log.Warn("closing the token session", "err", err)
		}
	}()
	failed := map[string]Code{}
	total := len(a.documents)
	r.observe(a.prepared.Request, StepSigning, 0, total)
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
		if err == nil {
			s, err = pending[next].Finish(ctx, sig, batch.Out())
		}
		if err == nil {
			s.At, s.Certificate = a.at, a.identity.Certificate
			next++
			err = g.add(s)
		}
		if err != nil {
			log.Warn("signing stopped", "done", next, "of", total, "err", err)
			code := tokenCode(err)
			failAll(failed, documents[min(next, len(documents)):], code)
			break
		}
		done++
		r.observe(a.prepared.Request, StepSigning, done, total)
	}
	if err := g.flush(); err != nil {
		log.Error("signed documents not stored", "err", err)
	}
	for _, d := range g.lost {
		failed[d] = CodeDisk
	}
	for _, d := range documents[min(next, len(documents)):] {
		if _, told := failed[d.ID]; !told {
			failed[d.ID] = CodeTokenFailed // the token ended early without an error
		}
	}
	return failed
}

// begin computes what the token must sign. A document that fails is put into
// failed and left out.
func (r *Runner) begin(ctx context.Context, a *Approved, failed map[string]Code, log *slog.Logger) (pending []Pending, digests [][]byte, documents []*PreparedDocument) {
	for _, d := range a.documents {
		p, err := r.Assembler.Begin(ctx, d, a.identity, a.algorithm, a.at)
		if err != nil {
			log.Warn("signature not begun", "document", d.ID, "err", err)
			failed[d.ID] = asError(err).Code
			continue
		}
		pending, digests, documents = append(pending, p), append(digests, p.Digest()), append(documents, d)
	}
	return pending, digests, documents
}

// A group collects signed documents for one commit.
type group struct {
	ctx    context.Context
	batch  Batch
	now    func() time.Time
	since  time.Time
	signed []*Signed
	lost   []string
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
	if err != nil {
		for _, s := range g.signed {
			g.lost = append(g.lost, s.Document.ID)
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
	}
	return CodeTokenFailed
}

// receipt waits a while for deliveries and merges what the outbox knows with
// what ended here.
func (r *Runner) receipt(ctx context.Context, req Request, ended map[string]DocumentReceipt) (Receipt, error) {
	r.observe(req, StepDelivering, 0, len(req.Documents))
	ctx, cancel := context.WithTimeout(ctx, AnswerWait)
	defer cancel()
	kept, err := r.Outbox.Await(ctx, req.Origin, req.ID)
	if err != nil && len(ended) < len(req.Documents) {
		return Receipt{}, err
	}
	for _, d := range kept.Documents {
		ended[d.ID] = d
	}
	out := Receipt{Job: req.ID}
	for _, d := range req.Documents {
		out.Documents = append(out.Documents, ended[d.ID])
	}
	return out, nil
}

func (r *Runner) observe(req Request, s Step, done, total int) {
	if r.Observe != nil {
		r.Observe(req.Origin, Progress{Job: req.ID, Step: s, Done: done, Total: total})
	}
}

// asError gives every error that leaves Run a code.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Fail(CodeCancelled, "", err)
	case errors.Is(err, ErrTooLarge):
		return Fail(CodeTooLarge, "", err)
	case diskFull(err):
		return Fail(CodeDisk, "", err)
	}
	return Fail(CodeInternal, "", err)
}
