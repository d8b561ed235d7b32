package job

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tanba/agent/policy"
)

// ErrUnfit reports an identity that may not sign this job; Ask.Fit says why.
var ErrUnfit = errors.New("certificate does not fit the request")

// A Runner takes requests through every step. Its fields are set once.
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
}

// Run takes req through every step and returns how each document ended. ctx
// ends the job at the next step; what is signed by then is delivered all the
// same. A job that ended before with the same documents is not signed again:
// its receipt is returned.
func (r *Runner) Run(ctx context.Context, req Request) (Receipt, error) {
	return Receipt{}, errors.New("unsupported")
}

func (r *Runner) observe(req Request, s Step, done, total int) {
	if r.Observe != nil {
		r.Observe(req.Origin, Progress{Job: req.ID, Step: s, Done: done, Total: total})
	}
}
