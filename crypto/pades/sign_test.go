package pades_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cert"
	"tanba/crypto/pades"
	"tanba/crypto/pdf/pdftest"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
)

func trusting(t testing.TB) verify.Options {
	p, err := pki()
	require.NoError(t, err)
	return verify.Options{Roots: []*cert.Certificate{p.Root.Certificate}, At: now, Revocation: verify.Skip}
}

func judge(t testing.TB, file []byte) *verify.Report {
	r, err := verify.PDF(t.Context(), bytes.NewReader(file), int64(len(file)), trusting(t))
	require.NoError(t, err)
	return r
}

func own(ctx context.Context, s signer, base, file []byte) error {
	b := verify.Base{Size: int64(len(base)), SHA256: sha256.Sum256(base)}
	sum, err := verify.OwnPDF(ctx, bytes.NewReader(file), int64(len(file)), b, s.Certificate)
	if err == nil && sum != sha256.Sum256(file) {
		return errors.New("OwnPDF's digest is not the file's")
	}
	return err
}

func TestEveryAlgorithm(t *testing.T) {
	base := pdftest.Plain(1000)
	all, err := signers()
	require.NoError(t, err)
	require.Len(t, all, 6)
	for alg := range all {
		t.Run(string(alg), func(t *testing.T) {
			s := signerFor(t, alg)
			out := s.must(t, base, nil)
			assert.NoError(t, own(t.Context(), s, base, out))
			r := judge(t, out)
			require.Len(t, r.Signatures, 1)
			got := r.Signatures[0]
			assert.Equal(t, verify.TotalPassed, got.Indication, got.Reason)
			assert.Empty(t, got.Violations)
			assert.Equal(t, "PAdES", got.Format)
			assert.Equal(t, "B-B", got.Level)
			assert.Equal(t, string(alg), got.Algorithm)
			assert.Equal(t, "Signature1", got.FieldName)
			assert.True(t, got.CoversWholeFile)
			assert.Empty(t, got.Warning)
			assert.True(t, got.SigningTime.Equal(now))
			sigs := pdfsig(t, write(t, "a.pdf", out))
			require.Len(t, sigs, 1)
			assert.Contains(t, sigs[0], "Signature is Valid")
			assert.Contains(t, sigs[0], "Total document signed")
			openssl(t, out)
		})
	}
}

// openssl cuts the CMS and the signed bytes out of a file with one signature
// and has OpenSSL check both, the ESS attribute included.
func openssl(t testing.TB, file []byte) {
	list, err := pades.Signatures(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	require.Len(t, list, 1)
	signed, err := io.ReadAll(list[0].Signed(bytes.NewReader(file)))
	require.NoError(t, err)
	p, err := pki()
	require.NoError(t, err)
	said, err := run(t, "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER",
		"-in", write(t, "sig.der", list[0].Contents), "-content", write(t, "signed.bin", signed),
		"-CAfile", write(t, "root.pem", []byte(p.Root.Certificate.PEM())), "-purpose", "any", "-out", "/dev/null")
	assert.NoError(t, err, said)
	assert.Contains(t, said, "CAdES Verification successful")
}

func TestThreeInARow(t *testing.T) {
	_, files := corpus(t)
	for _, name := range []string{
		"sample-files__002-trivial-libre-office-writer.pdf", // table
		"pyHanko__minimal-xref.pdf",                         // stream
		"qpdf__hybrid-xref.pdf",
		"qpdf__form-filled-by-acrobat.pdf",
		"pyHanko__uncompressed-objstream-sample.pdf",
	} {
		t.Run(name, func(t *testing.T) {
			file := files[name]
			require.NotEmpty(t, file)
			fieldsBefore := fields(t, write(t, "0.pdf", file))
			for i, alg := range []sigalg.Algorithm{sigalg.RSASHA256, sigalg.ECDSAP384SHA384, sigalg.ECDSAP256SHA256} {
				s := signerFor(t, alg)
				base := file
				d, err := pades.Open(bytes.NewReader(base), int64(len(base)))
				require.NoError(t, err)
				assert.Equal(t, i, d.Signatures())
				file = s.must(t, base, nil)
				assert.True(t, bytes.HasPrefix(file, base))
				assert.NoError(t, own(t.Context(), s, base, file))
			}
			r := judge(t, file)
			assert.True(t, r.Passed())
			require.Len(t, r.Signatures, 3)
			for i, s := range r.Signatures {
				assert.Equal(t, fmt.Sprintf("Signature%d", i+1), s.FieldName)
				assert.Equal(t, i == 2, s.CoversWholeFile)
				assert.Equal(t, i == 2, s.Warning == "")
				assert.Equal(t, i < 2, strings.Contains(s.Warning, `"Signature3" covers them`))
			}
			path := write(t, "3.pdf", file)
			assert.Equal(t, 3, count(pdfsig(t, path), "Signature is Valid"))
			assert.Len(t, fields(t, path), len(fieldsBefore)+3)
			out, err := run(t, "qpdf", "--check", path)
			assert.NoError(t, err, out)
			assert.NotContains(t, out, "WARNING")
		})
	}
}

func TestTextsAndSize(t *testing.T) {
	base := pdftest.Plain(100)
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	out := s.must(t, base, func(o *pades.Options) {
		o.Name, o.Reason, o.Location, o.Contact = "Щукин (Шамиль)", "Согласен \\ қол қойдым", "Ғылым көшесі, 5>", "a@b.kz"
		o.ContentsSize = 20_000
	})
	assert.Greater(t, len(out), len(base)+40_000)
	assert.NoError(t, own(t.Context(), s, base, out))
	list, err := pades.Signatures(bytes.NewReader(out), int64(len(out)))
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "Щукин (Шамиль)", list[0].Name)
	assert.Equal(t, "Согласен \\ қол қойдым", list[0].Reason)
	assert.Equal(t, "Ғылым көшесі, 5>", list[0].Location)
	assert.True(t, list[0].SigningTime.Equal(now))
	check, err := run(t, "qpdf", "--check", write(t, "a.pdf", out))
	assert.NoError(t, err, check)
}

func TestBadOptions(t *testing.T) {
	base := pdftest.Plain(100)
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	for _, c := range []struct {
		name   string
		change func(*pades.Options)
		want   error
	}{
		{"no certificate", func(o *pades.Options) { o.Certificate = nil }, nil},
		{"no time", func(o *pades.Options) { o.SigningTime = time.Time{} }, nil},
		{"unknown algorithm", func(o *pades.Options) { o.Algorithm = "x" }, sigalg.ErrUnsupported},
		{"another key's algorithm", func(o *pades.Options) { o.Algorithm = sigalg.RSASHA256 }, sigalg.ErrUnsupported},
		{"long reason", func(o *pades.Options) { o.Reason = strings.Repeat("ы", 1001) }, nil},
		{"huge hole", func(o *pades.Options) { o.ContentsSize = 1 << 30 }, nil},
		{"no such field", func(o *pades.Options) { o.Field = "Nope" }, pades.ErrField},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.attempt(base, c.change)
			require.Error(t, err)
			if c.want != nil {
				assert.ErrorIs(t, err, c.want)
			}
		})
	}
	_, err := s.attempt(base, func(o *pades.Options) { o.ContentsSize = 100 })
	assert.Error(t, err, "the CMS does not fit")
}

// A digest state made elsewhere gives the same signature as a pass over the
// document, of which nothing is read then; a wrong one is caught by our own
// check. Another algorithm's signature does not use it.
func TestHashedElsewhere(t *testing.T) {
	base := pdftest.Plain(5000)
	h := sha256.New()
	h.Write(base)
	sign := func(alg sigalg.Algorithm, r io.ReaderAt) (signer, []byte) {
		s := signerFor(t, alg)
		d, err := pades.Open(r, int64(len(base)))
		require.NoError(t, err)
		d.HashedSHA256(h)
		p, err := d.Prepare(s.options())
		require.NoError(t, err)
		sig, err := s.sign(p.Digest())
		require.NoError(t, err)
		var out bytes.Buffer
		_, err = p.Finish(t.Context(), sig, &out)
		require.NoError(t, err)
		return s, out.Bytes()
	}
	for _, alg := range []sigalg.Algorithm{sigalg.RSASHA256, sigalg.RSASHA256, sigalg.ECDSAP384SHA384} {
		s, out := sign(alg, bytes.NewReader(base))
		assert.NoError(t, own(t.Context(), s, base, out))
	}
	h.Write([]byte("more"))
	s, out := sign(sigalg.RSASHA256, bytes.NewReader(base))
	assert.ErrorIs(t, own(t.Context(), s, base, out), verify.ErrOwn)
}

func TestReaderAndContextErrors(t *testing.T) {
	base := pdftest.Plain(1000)
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	_, err := pades.Open(failing{}, int64(len(base)))
	assert.ErrorIs(t, err, io.ErrClosedPipe)
	assert.NotErrorIs(t, err, pades.ErrBroken)
	_, err = pades.Open(bytes.NewReader(base), int64(len(base))+10)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)

	d, err := pades.Open(bytes.NewReader(base), int64(len(base)))
	require.NoError(t, err)
	p, err := d.Prepare(s.options())
	require.NoError(t, err)
	sig, err := s.sign(p.Digest())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Finish(ctx, sig, io.Discard)
	assert.ErrorIs(t, err, context.Canceled)
	var out bytes.Buffer
	n, err := p.Finish(t.Context(), sig, &out)
	require.NoError(t, err)
	assert.EqualValues(t, out.Len(), n)
	assert.Equal(t, p.Size(), n)
	assert.NoError(t, own(t.Context(), s, base, out.Bytes()))
	assert.ErrorIs(t, own(ctx, s, base, out.Bytes()), context.Canceled)
	_, err = p.Finish(t.Context(), nil, io.Discard)
	assert.Error(t, err, "no signature")
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

// TestMutations changes every third byte of a signed file in turn: our own
// check must see each.
func TestMutations(t *testing.T) {
	base := pdftest.Plain(300)
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	out := s.must(t, base, nil)
	require.NoError(t, own(t.Context(), s, base, out))
	list, err := pades.Signatures(bytes.NewReader(out), int64(len(out)))
	require.NoError(t, err)
	br := list[0].ByteRange
	// The issuers' certificates in the CMS are no part of what is signed.
	loose := func(i int) bool {
		for _, c := range s.Chain {
			at := bytes.Index(out, []byte(hex.EncodeToString(c.Raw)))
			// The root is left out of the CMS: at is -1 for it.
			if at >= 0 && i >= at && i < at+2*len(c.Raw) {
				return true
			}
		}
		return false
	}
	n := 0
	for i := 0; i < len(out); i += 3 {
		if loose(i) {
			continue
		}
		bad := bytes.Clone(out)
		bad[i] ^= 1
		n++
		if !assert.Error(t, own(t.Context(), s, base, bad), "byte %d", i) {
			continue
		}
		if i%15 != 0 || (int64(i) > br[1] && int64(i) < br[2]-1) {
			continue // the CMS is not signed: a changed issuer of the chain fails otherwise
		}
		r, err := verify.PDF(t.Context(), bytes.NewReader(bad), int64(len(bad)), trusting(t))
		assert.True(t, err != nil || !r.Passed(), "byte %d", i)
	}
	assert.Greater(t, n, 1000)

	assert.ErrorIs(t, own(t.Context(), s, base, out[:len(out)-1]), verify.ErrOwn, "cut")
	assert.ErrorIs(t, own(t.Context(), s, base, append(bytes.Clone(out), '\n')), verify.ErrOwn, "longer")
	assert.ErrorIs(t, own(t.Context(), s, base, base), verify.ErrOwn, "unsigned")
	assert.ErrorIs(t, own(t.Context(), s, pdftest.Plain(320), out), verify.ErrOwn, "another document")
	assert.ErrorIs(t, own(t.Context(), s, nil, out), verify.ErrOwn, "no document")
	assert.ErrorIs(t, own(t.Context(), signerFor(t, sigalg.ECDSAP384SHA384), base, out), verify.ErrOwn, "another signer")
	twice := s.must(t, out, nil)
	assert.NoError(t, own(t.Context(), s, out, twice))
	assert.NoError(t, own(t.Context(), s, base, twice), "base is a prefix of both")
}

// What is added to the file afterwards is said, and does not break the
// signature.
func TestAddedAfterwards(t *testing.T) {
	out := signerFor(t, sigalg.RSASHA256).must(t, pdftest.Plain(100), nil)
	r := judge(t, append(out, "\n% added\n"...))
	assert.Equal(t, verify.TotalPassed, r.Signatures[0].Indication)
	assert.False(t, r.Signatures[0].CoversWholeFile)
	assert.Contains(t, r.Signatures[0].Warning, "9 bytes")
	assert.Contains(t, r.Signatures[0].Warning, "no intact signature")
}

// TestFlatMemory signs and checks a document of 300 MB that is nowhere.
func TestFlatMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("300 MB take seconds")
	}
	big := pdftest.NewBig(300 << 20)
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	before := allocated()
	d, err := pades.Open(big, big.Size())
	require.NoError(t, err)
	p, err := d.Prepare(s.options())
	require.NoError(t, err)
	sig, err := s.sign(p.Digest())
	require.NoError(t, err)
	base := sha256.New()
	update := &after{from: big.Size(), head: base}
	n, err := p.Finish(t.Context(), sig, update)
	require.NoError(t, err)
	assert.Equal(t, p.Size(), n)
	signed := big.Append(update.b)
	require.Equal(t, n, signed.Size())
	_, err = verify.OwnPDF(t.Context(), signed, n, verify.Base{Size: big.Size(), SHA256: [32]byte(base.Sum(nil))}, s.Certificate)
	require.NoError(t, err)
	all := allocated() - before
	t.Logf("allocated in all: %d KB", all>>10)
	assert.Less(t, all, uint64(8<<20))
}

// allocated returns the bytes of heap that were ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// An after passes the first bytes on to head and keeps what comes after.
type after struct {
	from, n int64
	head    io.Writer
	b       []byte
}

func (w *after) Write(b []byte) (int, error) {
	cut := min(max(w.from-w.n, 0), int64(len(b)))
	_, _ = w.head.Write(b[:cut])
	w.b = append(w.b, b[cut:]...)
	w.n += int64(len(b))
	return len(b), nil
}
