package job

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// The page withdraws the job while the token looks at the PIN: the page is
// told that it is withdrawn, so nothing may be signed.
func TestWithdrawnDuringTheUnlock(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
		a, err := w.approveAll(ctx, ask)
		cancel()
		return a, err
	}
	_, err := w.Run(ctx, request(2))
	assert.Equal(t, CodeCancelled, code(t, err))
	assert.Zero(t, w.token.signed)
	assert.Zero(t, w.token.open, "the session is closed")
}

// Once signing was announced the page cannot withdraw any more.
func TestWithdrawnAfterSigningBegan(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.Assembler = beginning{func() { cancel() }}
	r, err := w.Run(ctx, request(2))
	require.NoError(t, err)
	assert.Equal(t, "delivered delivered", states(r))
}

type beginning struct{ f func() }

func (b beginning) Begin(ctx context.Context, d *PreparedDocument, id tokens.Identity, alg sigalg.Algorithm, at time.Time) (Pending, error) {
	b.f()
	return fakeAssembler{}.Begin(ctx, d, id, alg, at)
}

type stumbling struct{}

func (stumbling) Prepare(context.Context, Request, *Spool) (*Prepared, error) {
	var list []int
	_ = list[len(list)]
	return nil, nil
}

func TestAPanicCostsItsJobAlone(t *testing.T) {
	w := newWorld(t)
	w.Preparer = stumbling{}
	_, err := w.Run(t.Context(), request(1))
	assert.Equal(t, CodeInternal, code(t, err))
	w.Preparer = fakePreparer{}
	r, err := w.Run(t.Context(), request(1))
	require.NoError(t, err, "the job is not thought to be running")
	assert.Equal(t, "delivered", states(r))
}

func TestRejectionThatCannotBeKept(t *testing.T) {
	w := newWorld(t)
	w.box.rejectErr = Fail(CodeDisk, "", nil)
	w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
		a, err := w.approveAll(ctx, ask)
		a.Approved, a.Rejected, a.Reason = a.Approved[:1], []string{"d1"}, ReasonOther
		return a, err
	}
	_, err := w.Run(t.Context(), request(2))
	assert.Equal(t, CodeDisk, code(t, err))
	assert.Zero(t, w.token.open, "the session is closed")
}

// What goes wrong on the disk is not blamed on the token.
func TestFullDiskWhileSigning(t *testing.T) {
	w := newWorld(t)
	w.Assembler = full{}
	r, err := w.Run(t.Context(), request(2))
	require.NoError(t, err)
	assert.Equal(t, CodeDisk, r.Documents[0].Code)
	assert.Equal(t, CodeDisk, r.Documents[1].Code)

	w = newWorld(t)
	w.box.commitErr = errors.New("closed")
	r, err = w.Run(t.Context(), request(2))
	require.NoError(t, err)
	assert.Equal(t, CodeInternal, r.Documents[0].Code)
}

type full struct{ Pending }

func (full) Begin(ctx context.Context, d *PreparedDocument, id tokens.Identity, alg sigalg.Algorithm, at time.Time) (Pending, error) {
	p, err := fakeAssembler{}.Begin(ctx, d, id, alg, at)
	return full{p}, err
}

func (f full) Finish(_ context.Context, _ []byte, out *Spool) (*Signed, error) {
	_, err := out.Append(0, func(io.Writer) error { return syscall.ENOSPC })
	return nil, err
}
