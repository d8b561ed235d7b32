package approve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// fakeAsk is a question with tokens that the test plugs and pulls.
type fakeAsk struct {
	prepared *job.Prepared

	mu      sync.Mutex
	tokens  []tokens.Token
	misfits map[string]job.Misfit
	changes chan struct{}
	opened  int
	pins    []string // every PIN that was offered
	unlock  func(id, pin string) error
}

func (f *fakeAsk) Prepared() *job.Prepared { return f.prepared }

func (f *fakeAsk) Tokens(context.Context) ([]tokens.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tokens), nil
}

func (f *fakeAsk) Changes() (<-chan struct{}, func()) { return f.changes, func() {} }

func (f *fakeAsk) Fit(id tokens.Identity) job.Misfit {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.misfits[id.ID]
}

func (f *fakeAsk) Opened(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
}

func (f *fakeAsk) Unlock(_ context.Context, id string, pin tokens.PIN) error {
	f.mu.Lock()
	f.pins = append(f.pins, string(pin.Bytes()))
	unlock := f.unlock
	f.mu.Unlock()
	defer pin.Wipe()
	return unlock(id, string(pin.Bytes()))
}

func (f *fakeAsk) offered() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.pins)
}

// plug replaces the tokens and tells the prompt.
func (f *fakeAsk) plug(list ...tokens.Token) {
	f.mu.Lock()
	f.tokens = list
	f.mu.Unlock()
	select {
	case f.changes <- struct{}{}:
	default:
	}
}

func newAsk(documents int, list ...tokens.Token) *fakeAsk {
	f := &fakeAsk{
		prepared: &job.Prepared{Request: job.Request{
			ID: "d41", Origin: "https://crm.altyn.kz", Title: "Поставка проката, спецификация № 7", Reference: "Д-41/2026", Counterparty: "ТОО «Алтын Металл»",
			Delivery: job.Delivery{URL: "https://crm.altyn.kz/tanba/results"},
		}},
		tokens: list, misfits: map[string]job.Misfit{}, changes: make(chan struct{}, 1),
		unlock: func(_, pin string) error {
			if pin != goodPIN {
				return &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINCountLow}
			}
			return nil
		},
	}
	names := []string{"Договор поставки № 41.pdf", "Спецификация № 7.pdf", "Счёт на оплату 118.pdf", "Акт сверки, III квартал.pdf"}
	for i := range documents {
		body := pdf(fmt.Sprintf("Document %d", i+1))
		if i == 0 {
			body = append(body, bytes.Repeat([]byte("% padding\n"), 24_800)...)
		}
		name := names[i%len(names)]
		if i >= len(names) {
			name = fmt.Sprintf("Приложение %d к договору № 41.pdf", i-3)
		}
		f.prepared.Documents = append(f.prepared.Documents, &job.PreparedDocument{
			ID: fmt.Sprintf("doc-%d", i+1), Name: name, MediaType: "application/pdf", Format: job.PAdES,
			Size: int64(len(body)), SHA256: sha256.Sum256(body), Content: bytes.NewReader(body), Signatures: i % 3 % 2,
		})
	}
	return f
}

const goodPIN = "12345678"

// pdf returns a PDF of one page with a line of text.
func pdf(line string) []byte {
	var b bytes.Buffer
	var at []int
	b.WriteString("%PDF-1.7\n")
	content := "BT /F1 24 Tf 72 720 Td (" + line + ") Tj ET"
	for i, o := range []string{
		"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
		fmt.Sprintf("<</Length %d>>stream\n%s\nendstream", len(content), content), "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
	} {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, xref)
	return b.Bytes()
}

// holder describes a certificate to make.
type holder struct {
	name, organization, iin, bin string
	role                         asn1.ObjectIdentifier
	until                        time.Time
}

var (
	roleHead   = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2, 1}
	rolePerson = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 1}
)

func director() holder {
	return holder{"СЕРІКҰЛЫ АСҚАР", "ТОО «ҚҰРЫЛЫС СЕРВИС»", "800101300123", "150340012345", roleHead, time.Now().AddDate(0, 0, 247).Add(time.Hour)}
}

func identity(t testing.TB, tokenID string, h holder) tokens.Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	subject := pkix.Name{CommonName: h.name, Country: []string{"KZ"}, SerialNumber: "IIN" + h.iin}
	if h.bin != "" {
		subject.Organization, subject.OrganizationalUnit = []string{h.organization}, []string{"BIN" + h.bin}
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (тест)"}, NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(9, 0, 0)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(41), Subject: subject, NotBefore: h.until.AddDate(-1, 0, 0), NotAfter: h.until,
		KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{h.role},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), key)
	require.NoError(t, err)
	c, err := cert.Parse(der)
	require.NoError(t, err)
	return tokens.Identity{ID: c.Fingerprint()[:16], TokenID: tokenID, Certificate: c, Algorithms: make([]sigalg.Algorithm, 1)}
}

func token(t testing.TB, pin tokens.PINState, holders ...holder) tokens.Token {
	t.Helper()
	k := tokens.Token{ID: "KAZTOKEN/0912", Label: "KAZTOKEN", Serial: "00912741", PIN: pin}
	for _, h := range holders {
		k.Identities = append(k.Identities, identity(t, k.ID, h))
	}
	return k
}
