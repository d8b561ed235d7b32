package job

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/policy"
	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
)

var testTime = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// A world is a Runner whose neighbours are played by the test.
type world struct {
	*Runner
	t        *testing.T
	token    *fakeToken
	box      *fakeOutbox
	answer   func(ctx context.Context, ask *Ask) (Answer, error)
	asked    int
	steps    []Step
	identity tokens.Identity
}

func newWorld(t *testing.T) *world {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "T"}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: testTime.Add(-time.Hour), NotAfter: testTime.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	c, err := cert.Parse(der)
	require.NoError(t, err)
	w := &world{t: t, identity: tokens.Identity{ID: "i", Certificate: c, Algorithms: []sigalg.Algorithm{sigalg.ECDSAP256SHA256}}}
	w.token = &fakeToken{identities: []tokens.Identity{w.identity}, key: key, pin: "1234"}
	w.box = &fakeOutbox{dir: t.TempDir(), originals: map[string][32]byte{}}
	w.Runner = &Runner{
		Preparer: fakePreparer{}, Approver: w, Assembler: fakeAssembler{}, Outbox: w.box, Tokens: w.token,
		Limits: policy.Default().Limits, Now: func() time.Time { return testTime }, Log: slog.New(slog.DiscardHandler),
		Observe: func(_ string, p Progress) { w.steps = append(w.steps, p.Step) },
	}
	w.answer = w.approveAll
	return w
}

// Approve implements Approver.
func (w *world) Approve(ctx context.Context, ask *Ask) (Answer, error) {
	w.asked++
	ask.Opened(ctx)
	return w.answer(ctx, ask)
}

func (w *world) approveAll(ctx context.Context, ask *Ask) (Answer, error) {
	if err := ask.Unlock(ctx, "i", tokens.NewPIN([]byte("1234"))); err != nil {
		return Answer{}, err
	}
	return Answer{Approved: allSeen(ask)}, nil
}

func allSeen(ask *Ask) []Seen {
	var s []Seen
	for _, d := range ask.Prepared().Documents {
		s = append(s, Seen{d.ID, d.SHA256})
	}
	return s
}

func request(n int) Request {
	req := Request{ID: "job1", Origin: "https://crm.test", Delivery: Delivery{URL: "https://crm.test/r", Bearer: NewSecret("b")}}
	for i := range n {
		req.Documents = append(req.Documents, Document{
			ID: "d" + strconv.Itoa(i), Name: "a.pdf", Format: CAdES, Content: Content{Inline: []byte("content " + strconv.Itoa(i))},
		})
	}
	return req
}

type fakePreparer struct{}

func (fakePreparer) Prepare(_ context.Context, req Request, work *Spool) (*Prepared, error) {
	p := &Prepared{Request: req}
	for _, d := range req.Documents {
		b, err := work.Append(0, func(w io.Writer) error { _, err := w.Write(d.Content.Inline); return err })
		if err != nil {
			return nil, err
		}
		p.Documents = append(p.Documents, &PreparedDocument{
			ID: d.ID, Name: d.Name, Format: d.Format, Size: b.Size, SHA256: sha256.Sum256(d.Content.Inline), Content: b,
		})
	}
	return p, nil
}

type fakeAssembler struct{}

func (fakeAssembler) Begin(_ context.Context, d *PreparedDocument, _ tokens.Identity, _ sigalg.Algorithm, _ time.Time) (Pending, error) {
	return &fakePending{d}, nil
}

type fakePending struct{ d *PreparedDocument }

func (p *fakePending) Digest() []byte { return p.d.SHA256[:] }

func (p *fakePending) Finish(_ context.Context, sig []byte, out *Spool) (*Signed, error) {
	b, err := out.Append(0, func(w io.Writer) error { _, err := w.Write(sig); return err })
	return &Signed{Document: p.d, File: b, SHA256: sha256.Sum256(sig)}, err
}

// A fakeToken signs for real and can be pulled at a row.
type fakeToken struct {
	identities []tokens.Identity
	none       bool
	key        *ecdsa.PrivateKey
	pin        string
	logins     int
	open       int
	pullAt     int // 1-based row at which it is removed
	extra      bool
	signed     int
}

func (f *fakeToken) List(context.Context) ([]tokens.Token, error) {
	if f.none {
		return nil, nil
	}
	return []tokens.Token{{ID: "t", Identities: f.identities}}, nil
}
func (f *fakeToken) Open(context.Context, string) (tokens.Session, error) {
	f.open++
	return &fakeSession{f: f}, nil
}
func (f *fakeToken) Changes() (<-chan struct{}, func()) { return nil, func() {} }

type fakeSession struct {
	f      *fakeToken
	logged bool
}

func (s *fakeSession) Login(_ context.Context, pin tokens.PIN) error {
	s.f.logins++
	if string(pin.Bytes()) == "locked" {
		return &tokens.PINError{Reason: tokens.PINIsGone, State: tokens.PINLocked}
	}
	if string(pin.Bytes()) != s.f.pin {
		return &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 2}
	}
	s.logged = true
	return nil
}

func (s *fakeSession) Sign(_ context.Context, _ sigalg.Algorithm, digests [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if !s.logged {
			yield(nil, tokens.ErrNotLoggedIn)
			return
		}
		for i, d := range digests {
			if i+1 == s.f.pullAt {
				yield(nil, tokens.ErrRemoved)
				return
			}
			sig, err := ecdsa.SignASN1(rand.Reader, s.f.key, d)
			s.f.signed++
			if !yield(sig, err) || err != nil {
				return
			}
		}
		if s.f.extra {
			yield([]byte("extra"), nil)
		}
	}
}

func (s *fakeSession) Close() error { s.f.open--; return nil }

type fakeOutbox struct {
	dir         string
	originals   map[string][32]byte
	documents   []DocumentReceipt
	commits     int
	reserved    int64
	opened      int
	redelivered []string
	reserveErr  error
	commitErr   error
	rejectErr   error
}

func (o *fakeOutbox) Find(string, string) (Receipt, map[string][32]byte, bool, error) {
	return Receipt{Documents: o.documents}, o.originals, len(o.originals) > 0, nil
}

func (o *fakeOutbox) Begin(context.Context, Request) (Batch, error) {
	n := strconv.FormatInt(time.Now().UnixNano(), 36)
	work, err := CreateSpool(filepath.Join(o.dir, n+".work"))
	if err != nil {
		return nil, err
	}
	out, err := CreateSpool(filepath.Join(o.dir, n+".out"))
	return &fakeBatch{o, work, out}, err
}
func (o *fakeOutbox) Redeliver(_ context.Context, _, _ string, d Delivery) error {
	o.redelivered = append(o.redelivered, d.Bearer.Reveal())
	return nil
}
func (o *fakeOutbox) Await(context.Context, string, string) (Receipt, error) {
	return Receipt{Documents: o.documents}, nil
}

type fakeBatch struct {
	o         *fakeOutbox
	work, out *Spool
}

func (b *fakeBatch) Reserve(_ context.Context, n int64) error {
	b.o.reserved = n
	return b.o.reserveErr
}
func (b *fakeBatch) Work() *Spool { return b.work }
func (b *fakeBatch) Out() *Spool  { return b.out }
func (b *fakeBatch) Commit(_ context.Context, signed []*Signed) error {
	if b.o.commitErr != nil {
		return b.o.commitErr
	}
	b.o.commits++
	for _, s := range signed {
		b.o.originals[s.Document.ID] = s.Document.SHA256
		b.o.documents = append(b.o.documents, DocumentReceipt{ID: s.Document.ID, State: Delivered})
	}
	return nil
}
func (b *fakeBatch) Opened(context.Context, *Prepared) error { b.o.opened++; return nil }
func (b *fakeBatch) Reject(_ context.Context, p *Prepared, ids []string, reason Reason, text string, _ time.Time) error {
	if b.o.rejectErr != nil {
		return b.o.rejectErr
	}
	for _, d := range p.Documents {
		for _, id := range ids {
			if d.ID == id {
				b.o.originals[id] = d.SHA256
				b.o.documents = append(b.o.documents, DocumentReceipt{ID: id, State: Rejected, Reason: reason, Text: text})
			}
		}
	}
	return nil
}
func (b *fakeBatch) Close() error { return errors.Join(b.work.Close(), b.out.Close()) }

func states(r Receipt) string {
	var s []string
	for _, d := range r.Documents {
		s = append(s, string(d.State))
	}
	return strings.Join(s, " ")
}

func code(t *testing.T, err error) Code {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e.Code
}

func TestRunSignsWhatWasApproved(t *testing.T) {
	w := newWorld(t)
	r, err := w.Run(t.Context(), request(3))
	require.NoError(t, err)
	assert.Equal(t, "delivered delivered delivered", states(r))
	assert.Equal(t, 1, w.asked)
	assert.Equal(t, 1, w.token.logins)
	assert.Zero(t, w.token.open, "the session is closed")
	assert.Equal(t, 1, w.box.opened)
	assert.Equal(t, StepDone, w.steps[len(w.steps)-1])
}

func TestRunTwiceSignsOnce(t *testing.T) {
	w := newWorld(t)
	_, err := w.Run(t.Context(), request(2))
	require.NoError(t, err)
	r, err := w.Run(t.Context(), request(2))
	require.NoError(t, err)
	assert.Equal(t, "delivered delivered", states(r))
	assert.Equal(t, 1, w.asked, "no second prompt")
	assert.Equal(t, 2, w.token.signed)

	changed := request(2)
	changed.Documents[1].Content.Inline = []byte("other")
	_, err = w.Run(t.Context(), changed)
	assert.Equal(t, CodeReused, code(t, err))
}

func TestComingAgainWithABearerUnparks(t *testing.T) {
	w := newWorld(t)
	_, err := w.Run(t.Context(), request(2))
	require.NoError(t, err)
	w.box.documents[1].State = Parked
	again := request(2)
	again.Delivery.Bearer = NewSecret("fresh")
	_, err = w.Run(t.Context(), again)
	require.NoError(t, err)
	assert.Equal(t, []string{"fresh"}, w.box.redelivered)
	assert.Equal(t, 2, w.token.signed)
}

func TestPulledTokenKeepsWhatIsSigned(t *testing.T) {
	w := newWorld(t)
	w.token.pullAt = 40
	r, err := w.Run(t.Context(), request(50))
	require.NoError(t, err)
	assert.Equal(t, 39, strings.Count(states(r), "delivered"))
	assert.Equal(t, CodeTokenRemoved, r.Documents[39].Code)
	assert.Equal(t, CodeTokenRemoved, r.Documents[49].Code)

	w.token.pullAt = 0
	r, err = w.Run(t.Context(), request(50))
	require.NoError(t, err)
	assert.Equal(t, 50, strings.Count(states(r), "delivered"))
	assert.Equal(t, 50, w.token.signed, "no document is signed twice")
}

func TestRejectedAndLeft(t *testing.T) {
	w := newWorld(t)
	w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
		a, err := w.approveAll(ctx, ask)
		a.Approved = a.Approved[:1]
		a.Rejected, a.Reason, a.Text = []string{"d1"}, ReasonWrongTerms, "no"
		return a, err
	}
	r, err := w.Run(t.Context(), request(3))
	require.NoError(t, err)
	assert.Equal(t, "delivered rejected left", states(r))
	assert.Equal(t, ReasonWrongTerms, r.Documents[1].Reason)
}

func TestLaterSignsNothing(t *testing.T) {
	w := newWorld(t)
	w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
		a, err := w.approveAll(ctx, ask)
		a.Later = true
		return a, err
	}
	r, err := w.Run(t.Context(), request(1))
	require.NoError(t, err)
	assert.Equal(t, "left", states(r))
	assert.Zero(t, w.token.signed)
	assert.Zero(t, w.token.open)
}

func TestAnswersThatAreRefused(t *testing.T) {
	for name, mend := range map[string]func(*Answer){
		"other digest":          func(a *Answer) { a.Approved[0].SHA256[3] ^= 1 },
		"unknown document":      func(a *Answer) { a.Approved[0].Document = "x" },
		"twice":                 func(a *Answer) { a.Approved = append(a.Approved, a.Approved[0]) },
		"approved and rejected": func(a *Answer) { a.Rejected = []string{"d0"} },
		"rejected unknown":      func(a *Answer) { a.Rejected = []string{"x"} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
				a, err := w.approveAll(ctx, ask)
				mend(&a)
				return a, err
			}
			_, err := w.Run(t.Context(), request(2))
			assert.Equal(t, CodeInternal, code(t, err))
			assert.Zero(t, w.token.signed)
			assert.Zero(t, w.token.open)
		})
	}
	t.Run("without unlocking", func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(_ context.Context, ask *Ask) (Answer, error) { return Answer{Approved: allSeen(ask)}, nil }
		_, err := w.Run(t.Context(), request(1))
		assert.Equal(t, CodeInternal, code(t, err))
	})
}

func TestPromptThatEndsUnanswered(t *testing.T) {
	closed := func(context.Context, *Ask) (Answer, error) { return Answer{}, Fail(CodeClosed, "", nil) }
	for name, c := range map[string]struct {
		set  func(w *world)
		want Code
	}{
		"closed":         {func(w *world) { w.answer = closed }, CodeClosed},
		"no token":       {func(w *world) { w.answer, w.token.none = closed, true }, CodeNoToken},
		"no certificate": {func(w *world) { w.answer, w.token.identities = closed, nil }, CodeNoCertificate},
		"locked": {func(w *world) {
			w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
				var p *tokens.PINError
				require.ErrorAs(w.t, ask.Unlock(ctx, "i", tokens.NewPIN([]byte("locked"))), &p)
				return closed(ctx, ask)
			}
		}, CodePINLocked},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.set(w)
			_, err := w.Run(t.Context(), request(1))
			assert.Equal(t, c.want, code(t, err))
			assert.Zero(t, w.token.open)
		})
	}
}

func TestUnlockIsOneLoginAndWipes(t *testing.T) {
	w := newWorld(t)
	w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
		wrong := []byte("9999")
		var p *tokens.PINError
		require.ErrorAs(t, ask.Unlock(ctx, "i", tokens.NewPIN(wrong)), &p)
		assert.Equal(t, 2, p.TriesLeft)
		assert.Equal(t, make([]byte, 4), wrong, "the PIN is wiped")
		assert.Equal(t, 1, w.token.logins)
		require.ErrorIs(t, ask.Unlock(ctx, "gone", tokens.NewPIN(nil)), tokens.ErrNotPresent)
		return w.approveAll(ctx, ask)
	}
	_, err := w.Run(t.Context(), request(1))
	require.NoError(t, err)
	assert.Equal(t, 2, w.token.logins)
}

func TestUnlockAfterTheEnd(t *testing.T) {
	w := newWorld(t)
	var kept *Ask
	w.answer = func(_ context.Context, ask *Ask) (Answer, error) {
		kept = ask
		return Answer{}, Fail(CodeTimeout, "", nil)
	}
	_, err := w.Run(t.Context(), request(1))
	require.Error(t, err)
	require.Error(t, kept.Unlock(t.Context(), "i", tokens.NewPIN([]byte("1234"))))
	assert.Zero(t, w.token.logins, "a prompt that has ended cannot log in")
}

func TestFilterAndExpiryAreMisfits(t *testing.T) {
	w := newWorld(t)
	req := request(1)
	req.Filter.BIN = "123456789012"
	w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
		assert.Equal(t, OtherOrganization, ask.Fit(w.identity))
		require.ErrorIs(t, ask.Unlock(ctx, "i", tokens.NewPIN([]byte("1234"))), ErrUnfit)
		return Answer{}, Fail(CodeClosed, "", nil)
	}
	_, err := w.Run(t.Context(), req)
	assert.Equal(t, CodeClosed, code(t, err))
	assert.Zero(t, w.token.logins)

	w.Now = func() time.Time { return testTime.AddDate(1, 0, 0) }
	w.answer = func(_ context.Context, ask *Ask) (Answer, error) {
		assert.Equal(t, Misfit(cert.Expired), ask.Fit(w.identity))
		return Answer{}, Fail(CodeClosed, "", nil)
	}
	_, err = w.Run(t.Context(), request(1))
	assert.Equal(t, CodeClosed, code(t, err))
}

func TestDiskFullSignsNothing(t *testing.T) {
	w := newWorld(t)
	w.box.reserveErr = Fail(CodeDisk, "", nil)
	_, err := w.Run(t.Context(), request(1))
	assert.Equal(t, CodeDisk, code(t, err))
	assert.Zero(t, w.asked)

	w = newWorld(t)
	w.box.commitErr = Fail(CodeDisk, "", nil)
	r, err := w.Run(t.Context(), request(2))
	require.NoError(t, err)
	assert.Equal(t, "failed failed", states(r))
	assert.Equal(t, CodeDisk, r.Documents[0].Code)
}

func TestTokenThatAnswersTooMuchOrTooLittle(t *testing.T) {
	w := newWorld(t)
	w.token.extra = true
	r, err := w.Run(t.Context(), request(2))
	require.NoError(t, err)
	assert.Equal(t, "delivered delivered", states(r))
}

func TestRequestsThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", MaxText+1)
	for name, c := range map[string]struct {
		mend func(*Request)
		want Code
	}{
		"no job id":          {func(r *Request) { r.ID = "" }, CodeInvalid},
		"job id with a dot":  {func(r *Request) { r.ID = "a.b" }, CodeInvalid},
		"long title":         {func(r *Request) { r.Title = long }, CodeInvalid},
		"no documents":       {func(r *Request) { r.Documents = nil }, CodeInvalid},
		"1001 documents":     {func(r *Request) { r.Documents = request(1001).Documents }, CodeTooMany},
		"same document id":   {func(r *Request) { r.Documents = append(r.Documents, r.Documents[0]) }, CodeInvalid},
		"document id taken":  {func(r *Request) { r.Documents[0].ID = "opened" }, CodeInvalid},
		"unknown format":     {func(r *Request) { r.Documents[0].Format = "xades" }, CodeInvalid},
		"attached pades":     {func(r *Request) { r.Documents[0].Format, r.Documents[0].Attached = PAdES, true }, CodeInvalid},
		"no content":         {func(r *Request) { r.Documents[0].Content = Content{} }, CodeInvalid},
		"two contents":       {func(r *Request) { r.Documents[0].Content.URL = "https://crm.test/d" }, CodeInvalid},
		"short digest":       {func(r *Request) { r.Documents[0].SHA256 = []byte{1} }, CodeInvalid},
		"filter iin":         {func(r *Request) { r.Filter.IIN = "12" }, CodeUnknownFilter},
		"filter role":        {func(r *Request) { r.Filter.Roles = []string{"king"} }, CodeUnknownFilter},
		"filter fingerprint": {func(r *Request) { r.Filter.Fingerprints = []string{"AB"} }, CodeUnknownFilter},
		"no delivery":        {func(r *Request) { r.Delivery.URL = "" }, CodeInvalid},
		"bearer with LF":     {func(r *Request) { r.Delivery.Bearer = NewSecret("a\nb") }, CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			req := request(1)
			c.mend(&req)
			_, err := w.Run(t.Context(), req)
			assert.Equal(t, c.want, code(t, err))
			assert.Zero(t, w.asked)
		})
	}
}

func TestOneRunOfAJobAtATime(t *testing.T) {
	w := newWorld(t)
	w.answer = func(ctx context.Context, ask *Ask) (Answer, error) {
		_, err := w.Run(ctx, request(1))
		assert.Equal(t, CodeRunning, code(t, err))
		return w.approveAll(ctx, ask)
	}
	_, err := w.Run(t.Context(), request(1))
	require.NoError(t, err)
	assert.False(t, w.Running("https://crm.test", "job1"))
}

func TestCleanText(t *testing.T) {
	assert.Equal(t, "a b", CleanText(" a\u202e \n\tb\u200b\x00", 10))
	assert.Equal(t, "abc", CleanText("abcdef", 3))
	assert.Equal(t, "evil.pdf", CleanName(`..\..\C:/start/evil.pdf. `))
	assert.Equal(t, "fdp.exe", CleanName("\u202efdp.exe"))
	assert.Equal(t, "document", CleanName("../"))
}

func TestSpoolGivesBackWhatWasWritten(t *testing.T) {
	s, err := CreateSpool(filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	put := func(p []byte, max int64) (*Blob, error) {
		return s.Append(max, func(w io.Writer) error { _, err := w.Write(p); return err })
	}
	big := bytes.Repeat([]byte("0123456789"), 20000)
	a, err := put(big, 0)
	require.NoError(t, err)
	_, err = put(big, 100)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = s.Append(0, func(w io.Writer) error { _, _ = w.Write(big); return io.ErrUnexpectedEOF })
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	b, err := put([]byte("two"), 3)
	require.NoError(t, err)
	for blob, want := range map[*Blob][]byte{a: big, b: []byte("two")} {
		got, err := io.ReadAll(blob.Reader())
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, got))
	}
	assert.Equal(t, int64(len(big)), b.Offset, "what failed left no trace")
}
