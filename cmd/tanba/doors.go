package main

import (
	"context"

	"tanba/agent/approve"
	"tanba/agent/job"
)

// jobs is what the front door sees of the runner and the outbox.
type jobs struct{ a *agent }

// Run implements native.Jobs.
func (j jobs) Run(ctx context.Context, req job.Request) (job.Receipt, error) {
	origin, id := req.Origin, req.ID
	r, err := j.a.runner.Run(ctx, req)
	j.a.signing.Delete(origin + " " + id)
	j.a.touch()
	j.a.approver.Ended(origin, id, r, err)
	return r, err
}

// State implements native.Jobs.
func (j jobs) State(_ context.Context, origin, id string) (job.Receipt, error) {
	r, _, ok, err := j.a.outbox.Find(origin, id)
	if err == nil && !ok {
		err = job.Fail(job.CodeUnknownJob, "", nil)
	}
	return r, err
}

// Redeliver implements native.Jobs.
func (j jobs) Redeliver(ctx context.Context, origin, id string, d job.Delivery) (job.Receipt, error) {
	if err := j.a.outbox.Redeliver(ctx, origin, id, d); err != nil {
		return job.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), job.AnswerWait)
	defer cancel()
	return j.a.outbox.Await(ctx, origin, id)
}

// access is what the front door sees of the prompt for a new site.
type access struct{ *approve.Approver }

// Ask implements native.Access.
func (a access) Ask(ctx context.Context, origin string) (bool, error) { return a.AskSite(ctx, origin) }

// observe hands a job's progress to everyone who shows it.
func (a *agent) observe(origin string, p job.Progress) {
	if p.Step == job.StepSigning && p.Done == 0 {
		a.signing.Store(origin+" "+p.Job, true)
		a.touch()
	}
	a.approver.Progress(origin, p)
	a.native.Progress(origin, p)
}
