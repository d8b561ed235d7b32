package native

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

// What the page is told is what happens: when a cancel is taken, the job has
// ended before an approval can come in between, and its answer comes after.
func TestCancelIsTakenAtOnce(t *testing.T) {
	b := newBench(t, nil)
	running := make(chan context.Context, 1)
	b.jobs.run = func(ctx context.Context, _ job.Request) (job.Receipt, error) {
		running <- ctx
		<-ctx.Done()
		return job.Receipt{}, job.Fail(job.CodeCancelled, "", ctx.Err())
	}
	p := b.dial(crm)
	p.call(1, "sign", signOne("j"))
	ctx := <-running
	told, fault := b.server.cancelJob(crm, "j")
	require.Nil(t, fault)
	require.Error(t, ctx.Err(), "cancelled before anybody is told")

	b.jobs.state = func(string, string) (job.Receipt, error) { return job.Receipt{}, job.Fail(job.CodeUnknownJob, "", nil) }
	p.call(2, "state", `{"job":"unknown"}`)
	r := p.next()
	assert.Equal(t, "2", string(r.ID), "the job's answer waits for the one to cancel")
	told()
	assert.Equal(t, "1", string(p.next().ID))
}

// A site that is not allowed takes none of the room for large frames, not
// even with a frame as large as it may send.
func TestStrangersTakeNoRoom(t *testing.T) {
	b := newBench(t, nil)
	for range bigFrames {
		b.server.big <- struct{}{}
	}
	p := b.dial(other)
	m := `{"jsonrpc":"2.0","id":1,"method":"hello","params":{}}`
	p.send(m + strings.Repeat(" ", int(b.cfg.Limits.FrameStranger)-len(m)))
	require.NoError(t, p.SetReadDeadline(time.Now().Add(5*time.Second)))
	assert.Equal(t, job.CodeSiteNotAllowed, p.code())
	q := b.dial(other)
	q.send(m + strings.Repeat(" ", int(b.cfg.Limits.FrameStranger)-len(m)+1))
	assert.Equal(t, 1009, q.closed())
	for range bigFrames {
		<-b.server.big
	}
}
