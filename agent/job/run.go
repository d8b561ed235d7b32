package job

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"tanba/agent/policy"
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
// A document over which a part of the agent stumbles costs its job, not the
// agent.
func (r *Runner) Run(ctx context.Context, req Request) (receipt Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.Error("job panicked", "job", req.ID, "origin", req.Origin, "stack", string(debug.Stack()))
			receipt, err = Receipt{}, Fail(CodeInternal, "", errors.New("panic"))
		}
	}()
	if err := check(&req, r.Limits); err != nil {
		return Receipt{}, err
	}
	release, err := r.claim(req)
	if err != nil {
		return Receipt{}, err
	}
	defer release()
	log := r.Log.With("job", req.ID, "origin", req.Origin)
	receipt, err = r.run(ctx, req, log)
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
				approved.drop(log)
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
