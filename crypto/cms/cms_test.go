package cms_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
	"tanba/testcerts"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// dataFiles finds other people's signatures, nil if there is no test data.
func dataFiles(t testing.TB, patterns ...string) []string {
	t.Helper()
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("TANBA_REQUIRE_DATA") == "1" {
			t.Fatalf("no test data: %v", err)
		}
		return nil
	}
	var out []string
	for _, p := range patterns {
		m, err := filepath.Glob(filepath.Join(dir, p))
		require.NoError(t, err)
		require.NotEmpty(t, m, p)
		out = append(out, m...)
	}
	return out
}

var foreign = []string{"kz/ncanode-test/*.cms", "kz/ncanode-test/tsp_token.bin", "ru/cryptoarm-web/*.sig", "ru/cryptoarm-web/timestamp.der"}

// made returns our own SignedData over doc in DER, detached and attached.
func made(t testing.TB, doc []byte) (detached, attached []byte) {
	t.Helper()
	pki, err := testcerts.New(testcerts.Options{Now: now})
	require.NoError(t, err)
	l, err := pki.Issue(testcerts.LeafSpec{Name: "ТЕСТОВ ТЕСТ"})
	require.NoError(t, err)
	h := sigalg.SHA256.New()
	h.Write(doc)
	st, err := cms.SigningTime(now)
	require.NoError(t, err)
	p, err := cms.Prepare(cms.Options{
		ContentDigest: h.Sum(nil), Certificate: l.Certificate, Chain: l.Chain,
		Algorithm: sigalg.ECDSAP256SHA256, Attributes: []cms.Attribute{st},
	})
	require.NoError(t, err)
	sig, err := l.Key.Sign(rand.Reader, p.Digest(), sigalg.SignerOpts(sigalg.ECDSAP256SHA256))
	require.NoError(t, err)
	detached, err = p.Finish(sig)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, p.WriteAttached(&b, bytes.NewReader(doc), int64(len(doc)), sig))
	return detached, b.Bytes()
}

func TestForeignFiles(t *testing.T) {
	files := dataFiles(t, foreign...)
	if files == nil {
		t.Skip("test data absent: set TANBA_TESTDATA")
	}
	der := 0
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			if b, err = cms.Unarmor(b); err != nil {
				t.Fatal(err)
			}
			sd, err := cms.Parse(b)
			require.NoError(t, err)
			require.NotEmpty(t, sd.SignerInfos)
			assert.Equal(t, sd.ExpectedVersion(), sd.Version)
			again, err := sd.Marshal()
			require.NoError(t, err)
			if sd.DER {
				der++
				assert.Equal(t, b, again)
			}
			for _, si := range sd.SignerInfos {
				assert.Contains(t, string(b), string(si.Raw), "byte for byte")
				_, err := si.Signer(sd.ParseCertificates())
				assert.NoError(t, err)
				assert.NoError(t, si.CheckAttributes(sd.ContentType))
			}
			// What we write of BER is DER and says the same.
			sd2, err := cms.Parse(again)
			require.NoError(t, err)
			assert.True(t, sd2.DER || !sd.DER)
			assert.Equal(t, content(t, sd), content(t, sd2))
			assert.Equal(t, sd.Certificates, sd2.Certificates)
		})
	}
	assert.GreaterOrEqual(t, der, 7)
}

func content(t testing.TB, sd *cms.SignedData) string {
	t.Helper()
	if sd.Content == nil {
		return ""
	}
	b, err := io.ReadAll(sd.Content.Reader())
	require.NoError(t, err)
	require.Len(t, b, int(sd.Content.Size()))
	return string(b)
}

// el encodes one element with a definite length of up to 65,535 bytes.
func el(tag byte, parts ...[]byte) []byte {
	b := slices.Concat(parts...)
	switch n := len(b); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, b...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, b...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, b...)
	}
}

// ber encodes one element of indefinite length.
func ber(tag byte, parts ...[]byte) []byte {
	return slices.Concat([]byte{tag, 0x80}, slices.Concat(parts...), []byte{0, 0})
}

var (
	oidSigned = []byte{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2}
	oidData   = []byte{0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1}
	sha256ID  = []byte{0x30, 11, 0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1}
	version1  = []byte{2, 1, 1}
)

// The ways of BER that senders use, and how deep they go.
func TestBER(t *testing.T) {
	der, attached := made(t, []byte("contract"))
	sd, err := cms.Parse(der)
	require.NoError(t, err)
	tail := slices.Concat(el(0xa0, sd.Certificates...), el(0x31, sd.SignerInfos[0].Raw))
	wrap := func(enc func(byte, ...[]byte) []byte, econtent []byte) []byte {
		return enc(0x30, oidSigned, enc(0xa0, enc(0x30, version1, el(0x31, sha256ID), enc(0x30, oidData, econtent), tail)))
	}
	pieces := slices.Concat(el(4, []byte("con")), el(4, nil), el(4, []byte("tract")))
	for _, c := range []struct {
		name string
		in   []byte
		der  bool
	}{
		{"definite", wrap(el, el(0xa0, el(4, []byte("contract")))), true},
		{"indefinite, one piece", wrap(ber, ber(0xa0, el(4, []byte("contract")))), false},
		{"indefinite, pieces", wrap(ber, ber(0xa0, ber(0x24, pieces))), false},
		{"definite, pieces", wrap(el, el(0xa0, el(0x24, pieces))), false},
		{"pieces of pieces", wrap(ber, ber(0xa0, ber(0x24, el(0x24, el(4, []byte("co"))), ber(0x24, el(4, []byte("nt")), ber(0x24)), el(4, []byte("ract"))))), false},
		{"indefinite pieces in definite ones", wrap(el, el(0xa0, ber(0x24, pieces))), false},
		{"long length", wrap(el, el(0xa0, []byte{4, 0x82, 0, 8}, []byte("contract"))), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := cms.Parse(c.in)
			require.NoError(t, err)
			assert.Equal(t, c.der, got.DER)
			assert.Equal(t, "contract", content(t, got))
			again, err := got.Marshal()
			require.NoError(t, err)
			assert.Equal(t, attached, again)
			// Cut anywhere, it is malformed.
			for i := range c.in {
				_, err := cms.Parse(c.in[:i])
				require.ErrorIs(t, err, cms.ErrMalformed, "cut at %d", i)
			}
			_, rest, err := cms.ParsePrefix(append(bytes.Clone(c.in), 0, 0, 0))
			require.NoError(t, err)
			assert.Equal(t, []byte{0, 0, 0}, rest)
		})
	}

	t.Run("SignerInfo in BER", func(t *testing.T) {
		si := sd.SignerInfos[0].Raw
		soft := append(append([]byte{0x30, 0x80}, si[len(si)-headless(si):]...), 0, 0)
		in := el(0x30, oidSigned, el(0xa0, el(0x30, version1, el(0x31, sha256ID), el(0x30, oidData), el(0xa0, sd.Certificates...), el(0x31, soft))))
		got, err := cms.Parse(in)
		require.NoError(t, err)
		assert.False(t, got.DER)
		assert.Equal(t, soft, got.SignerInfos[0].Raw)
		assert.Equal(t, sd.SignerInfos[0].Signature, got.SignerInfos[0].Signature)
		again, err := got.Marshal()
		require.NoError(t, err)
		assert.Equal(t, in, again, "what is not ours stays as it came")
	})
}

// headless returns the length of the body of el.
func headless(el []byte) int {
	if el[1] < 0x80 {
		return len(el) - 2
	}
	return len(el) - 2 - int(el[1]&0x7f)
}

func TestMalformed(t *testing.T) {
	signed := func(parts ...[]byte) []byte { return el(0x30, oidSigned, el(0xa0, el(0x30, parts...))) }
	encap := el(0x30, oidData)
	none := el(0x31)
	deep := []byte{}
	for range 200 {
		deep = el(0x30, deep)
	}
	deepBER := slices.Concat(bytes.Repeat([]byte{0x24, 0x80}, 200), bytes.Repeat([]byte{0, 0}, 200))
	many := bytes.Repeat(el(0x30), cms.MaxCertificates+1)
	require.NoError(t, func() error { _, err := cms.Parse(signed(version1, none, encap, none)); return err }())
	for name, in := range map[string][]byte{
		"empty":                     {},
		"one byte":                  {0x30},
		"indefinite and nothing":    {0x30, 0x80},
		"length of nine bytes":      append([]byte{0x30, 0x89}, make([]byte, 9)...),
		"length near overflow":      {0x30, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"primitive indefinite":      signed([]byte{2, 0x80, 0, 0}),
		"high tag number":           signed([]byte{0x1f, 0x81, 0, 0}),
		"version 6":                 signed([]byte{2, 1, 6}, none, encap, none),
		"version twice":             signed(version1, version1, none, encap, none),
		"version in two bytes":      signed([]byte{2, 2, 0, 1}, none, encap, none),
		"no signerInfos":            signed(version1, none, encap),
		"something after":           signed(version1, none, encap, none, none),
		"digest algorithm not one":  signed(version1, el(0x31, el(0x30)), encap, none),
		"content and more":          signed(version1, none, el(0x30, oidData, el(0xa0, el(4), el(4))), none),
		"content behind a wrap":     signed(version1, none, el(0x30, oidData, el(0xa1, el(4))), none),
		"piece of another kind":     signed(version1, none, el(0x30, oidData, el(0xa0, el(0x24, el(2, []byte{1})))), none),
		"pieces too deep":           signed(version1, none, el(0x30, oidData, el(0xa0, deepBER)), none),
		"certificates too many":     signed(version1, none, encap, el(0xa0, many), none),
		"certificate too deep":      signed(version1, none, encap, el(0xa0, deep), none),
		"SignerInfo empty":          signed(version1, none, encap, el(0x31, el(0x30))),
		"SignerInfo not a SEQUENCE": signed(version1, none, encap, el(0x31, el(4))),
		"SignerInfos in a SEQUENCE": signed(version1, none, encap, el(0x30)),
		"ends in an EOC":            slices.Concat(signed(version1, none, encap, none), []byte{0, 0}),
	} {
		_, err := cms.Parse(in)
		assert.ErrorIs(t, err, cms.ErrMalformed, name)
	}
	for name, in := range map[string][]byte{
		"another content type": el(0x30, oidData, el(0xa0, el(4))),
		"content no string":    signed(version1, none, el(0x30, oidData, el(0xa0, el(0x30))), none),
	} {
		_, err := cms.Parse(in)
		assert.ErrorIs(t, err, cms.ErrUnsupported, name)
	}
	_, err := cms.Unarmor([]byte(strings.Repeat("M", 2*cms.MaxStructure+1)))
	assert.ErrorIs(t, err, cms.ErrMalformed)
}

// A structure that claims to be huge is refused before memory is taken.
func TestHugeStructureIsRefused(t *testing.T) {
	head := []byte{
		0x30, 0x84, 0x7f, 0, 0, 0x80, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2,
		0xa0, 0x84, 0x7f, 0, 0, 0x60, 0x30, 0x84, 0x7f, 0, 0, 0x40,
	}
	head = slices.Concat(head, version1, el(0x31), el(0x30, oidData), []byte{0xa0, 0x84, 0x7f, 0, 0, 0})
	_, err := cms.Open(zeros(head), 1<<40)
	require.ErrorIs(t, err, cms.ErrMalformed)
}

// Nested indefinite lengths cost no more than their size.
func TestDeepBERIsQuick(t *testing.T) {
	const deep = 50
	nest := slices.Concat(bytes.Repeat([]byte{0x30, 0x80}, deep), bytes.Repeat([]byte{0, 0}, deep))
	in := slices.Concat([]byte{0x30, 0x80}, oidSigned, []byte{0xa0, 0x80, 0x30, 0x80}, version1, el(0x31), el(0x30, oidData),
		[]byte{0x31, 0x80, 0x30, 0x80}, bytes.Repeat(nest, 8<<20/len(nest)), make([]byte, 10))
	begin := time.Now()
	_, err := cms.Parse(in)
	require.ErrorIs(t, err, cms.ErrMalformed)
	assert.Less(t, time.Since(begin), 10*time.Second)
}

// zeros is a file of these bytes and zeros for ever after.
type zeros []byte

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z)) {
		copy(p, z[off:])
	}
	return len(p), nil
}

func TestAttributesTwice(t *testing.T) {
	der, _ := made(t, []byte("contract"))
	sd, err := cms.Parse(der)
	require.NoError(t, err)
	si := sd.SignerInfos[0]
	require.NoError(t, si.CheckAttributes(sd.ContentType))
	assert.True(t, cms.Sorted(si.SignedAttrs))
	for _, a := range si.SignedAttrs {
		twice := *si
		twice.SignedAttrs = append(slices.Clone(si.SignedAttrs), a)
		require.ErrorIs(t, twice.CheckAttributes(sd.ContentType), cms.ErrAttributes, a.Type)
	}
	for i, a := range si.SignedAttrs {
		less := *si
		less.SignedAttrs = slices.Delete(slices.Clone(si.SignedAttrs), i, i+1)
		err := less.CheckAttributes(sd.ContentType)
		if a.Type.Equal(cms.OIDContentType) || a.Type.Equal(cms.OIDMessageDigest) {
			require.ErrorIs(t, err, cms.ErrAttributes, a.Type)
		} else {
			require.NoError(t, err)
		}
	}
	require.ErrorIs(t, si.CheckAttributes(cms.OIDSignedData), cms.ErrAttributes)
}

// FuzzParse: what parses as DER is written again with the same bytes; what
// parses at all is read again as the same thing from what we write.
func FuzzParse(f *testing.F) {
	detached, attached := made(f, []byte("contract"))
	seeds := [][]byte{
		detached, attached, el(0x30, oidSigned, el(0xa0, el(0x30, version1, el(0x31), el(0x30, oidData), el(0x31)))),
		ber(0x30, oidSigned, ber(0xa0, ber(0x30, version1, ber(0x31, sha256ID), ber(0x30, oidData, ber(0xa0, ber(0x24, el(4, []byte("x"))))), ber(0xa0), ber(0x31)))),
	}
	for _, name := range dataFiles(f, foreign...) {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		b, err = cms.Unarmor(b)
		require.NoError(f, err)
		seeds = append(seeds, b)
	}
	for _, s := range seeds {
		_, err := cms.Parse(s)
		require.NoError(f, err, "a seed must parse")
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		sd, err := cms.Parse(in)
		if err != nil {
			return
		}
		out, err := sd.Marshal()
		require.NoError(t, err)
		if sd.DER {
			require.Equal(t, in, out)
		}
		again, err := cms.Parse(out)
		require.NoError(t, err)
		require.Equal(t, content(t, sd), content(t, again))
		require.Equal(t, sd.SignerInfos, again.SignerInfos)
		require.Equal(t, sd.Certificates, again.Certificates)
		twice, err := again.Marshal()
		require.NoError(t, err)
		require.Equal(t, out, twice)
	})
}
