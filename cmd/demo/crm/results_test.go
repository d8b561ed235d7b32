package crm

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts"
)

// ready starts a job for a deal and signs its first document.
func (b *bench) ready(deal string) (p signParams, d signDoc, file []byte) {
	p = b.login("director").enrol().start(deal)
	d = p.Documents[0]
	doc, err := b.crm.files.Get(Blob{SHA256: d.SHA256})
	require.NoError(b.t, err)
	return p, d, b.sign(d.Format, doc, b.director)
}

func TestSignedPDFAndCMSAreTaken(t *testing.T) {
	for _, deal := range []string{"41", "44"} {
		t.Run(deal, func(t *testing.T) {
			b := newBench(t)
			p, d, file := b.ready(deal)
			require.Equal(t, Sent, b.deal(deal).Status())
			status, text := b.event(p, "opened", nil).send()
			require.Equal(t, http.StatusOK, status, text)
			assert.Equal(t, Opened, b.deal(deal).Status())

			status, text = b.signed(p, d, file, b.meta(p, d, file, b.director)).send()
			require.Equal(t, http.StatusOK, status, text)
			doc := b.deal(deal).Document(d.ID)
			require.Equal(t, Signed, doc.Status())
			sig := doc.By(Ours)
			assert.Equal(t, b.director.Certificate.Fingerprint(), sig.Signer.Fingerprint)
			assert.Equal(t, directorIIN, sig.Signer.IIN)
			stored, err := b.crm.files.Get(sig.File)
			require.NoError(t, err)
			assert.Equal(t, file, stored)
			assert.Equal(t, hexDigest(file), b.history(deal)[0].SHA256)
			assert.Equal(t, "PC (linux/amd64, Tanba 0.1.0)", b.history(deal)[0].Device)

			br := b.login("director")
			code, body, h := br.get("/deals/" + deal + "/documents/" + d.ID + "/signed/ours")
			assert.Equal(t, http.StatusOK, code)
			assert.Equal(t, string(file), body)
			assert.Contains(t, h.Get("Content-Disposition"), "attachment")
			_, body, _ = br.get("/deals/" + deal + "/documents/" + d.ID + "/certificate/ours")
			assert.Equal(t, b.director.Certificate.PEM(), body)
		})
	}
}

func TestSecondPartySignsTheSignedFile(t *testing.T) {
	b := newBench(t)
	p, d, file := b.ready("41")
	partner := b.login("partner")
	assert.Equal(t, http.StatusConflict, partner.post("/api/deals/41/sign", struct{}{}, nil), "not enrolled")
	partner.enrol()
	assert.Equal(t, http.StatusConflict, partner.post("/api/deals/41/sign", struct{}{}, nil), "ours signs first")
	status, text := b.signed(p, d, file, b.meta(p, d, file, b.director)).send()
	require.Equal(t, http.StatusOK, status, text)

	p2 := partner.start("41")
	d2 := p2.Documents[0]
	assert.Equal(t, hexDigest(file), d2.SHA256, "the second party signs what the first signed")
	code, base := b.fetch(d2)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, file, base)
	twice := b.sign(formatPAdES, base, b.other)
	status, text = b.signed(p2, d2, twice, b.meta(p2, d2, twice, b.other)).send()
	require.Equal(t, http.StatusOK, status, text)
	assert.Equal(t, Both, b.deal("41").Status())
	assert.Equal(t, http.StatusConflict, partner.post("/api/deals/41/sign", struct{}{}, nil), "nothing is left")
}

func TestOneTimeBearers(t *testing.T) {
	b := newBench(t)
	br := b.login("director").enrol()
	d := br.start("41").Documents[0]
	bad := d
	bad.Content.Bearer = "guess"
	code, _ := b.fetch(bad)
	assert.Equal(t, http.StatusUnauthorized, code)
	code, doc := b.fetch(d)
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, d.SHA256, hexDigest(doc))
	code, _ = b.fetch(d)
	assert.Equal(t, http.StatusUnauthorized, code, "spent")
	again := br.start("41").Documents[0]
	b.now = b.now.Add(BearerTime + time.Second)
	code, _ = b.fetch(again)
	assert.Equal(t, http.StatusUnauthorized, code, "expired")
}

// Every way in which a delivery can be wrong: what is answered, and that
// nothing has changed.
func TestRefused(t *testing.T) {
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		deal   string
		status int
		// damage makes the delivery wrong.
		damage func(b *bench, p signParams, d signDoc, file []byte) *delivery
	}{
		{"no bearer", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"Authorization": ""}
			return x
		}},
		{"wrong bearer", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.bearer = p.Delivery.Bearer[1:] + "A"
			return x
		}},
		{"a document's bearer", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.bearer = d.Content.Bearer
			return x
		}},
		{"unknown job", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.key = "d41-unknown:contract"
			return x
		}},
		{"expired bearer", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			b.now = b.now.Add(BearerTime + time.Second)
			return x
		}},
		{"another agent's key", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.signer = stranger
			return x
		}},
		{"no signature", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"webhook-signature": ""}
			return x
		}},
		{"symmetric signature", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))}
			return x
		}},
		{"old attempt", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.stamp = strconv.FormatInt(b.now.Add(-clockSkew-2*time.Second).Unix(), 10)
			return x
		}},
		{"attempt of the future", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.stamp = strconv.FormatInt(b.now.Add(clockSkew+2*time.Second).Unix(), 10)
			return x
		}},
		{"signature over another time", "41", 401, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"webhook-timestamp": strconv.FormatInt(b.now.Unix()+1, 10)}
			return x
		}},
		{"other digest", "41", 400, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"Content-Digest": "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}
			return x
		}},
		{"no digest", "41", 400, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"Content-Digest": ""}
			return x
		}},
		{"no idempotency key", "41", 400, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"Idempotency-Key": ""}
			return x
		}},
		{"webhook id of another document", "41", 400, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			x := b.signed(p, d, f, b.meta(p, d, f, b.director))
			x.headers = map[string]string{"webhook-id": p.Job + ":other"}
			return x
		}},
		{"no multipart", "41", 400, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			return b.delivery(p, d.ID, "multipart/form-data; boundary=x", []byte("nothing"))
		}},
		{"other type", "41", 415, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			return b.delivery(p, d.ID, "text/plain", []byte("nothing"))
		}},
		{"metadata of another job", "41", 422, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			m := b.meta(p, d, f, b.director)
			m["job"] = "d41-other"
			return b.signed(p, d, f, m)
		}},
		{"metadata of another site", "41", 422, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			m := b.meta(p, d, f, b.director)
			m["origin"] = "https://evil.test"
			return b.signed(p, d, f, m)
		}},
		{"another document signed", "41", 422, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			m := b.meta(p, d, f, b.director)
			m["sha256"] = hexDigest(f)
			return b.signed(p, d, f, m)
		}},
		{"file is not what the metadata names", "41", 422, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			return b.signed(p, d, append(bytes.Clone(f), '\n'), b.meta(p, d, f, b.director))
		}},
		{"not signed at all", "41", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			f, err := b.crm.files.Get(Blob{SHA256: d.SHA256})
			require.NoError(b.t, err)
			f = append(f, "\n% nothing\n"...)
			return b.signed(p, d, f, b.meta(p, d, f, b.director))
		}},
		{"not a PDF", "41", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			f := []byte("forged")
			return b.signed(p, d, f, b.meta(p, d, f, b.director))
		}},
		{"contract changed before signing", "41", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			doc, err := b.crm.files.Get(Blob{SHA256: d.SHA256})
			require.NoError(b.t, err)
			f := b.sign(formatPAdES, bytes.Replace(doc, []byte("48 600 000"), []byte("00 000 001"), 1), b.director)
			return b.signed(p, d, f, b.meta(p, d, f, b.director))
		}},
		{"signature broken", "41", 422, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			f = bytes.Clone(f)
			at := bytes.LastIndex(f, []byte("/M (D:2")) + 6
			f[at]++ // "D:3…": the time that the signature covers
			return b.signed(p, d, f, b.meta(p, d, f, b.director))
		}},
		{"something added after the signature", "41", 422, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			f = append(bytes.Clone(f), "\n1 0 obj null endobj\n%%EOF\n"...)
			return b.signed(p, d, f, b.meta(p, d, f, b.director))
		}},
		{"authority of strangers", "41", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			pki, err := testcerts.New(testcerts.Options{Now: b.now})
			require.NoError(b.t, err)
			l := b.issue(pki, testcerts.LeafSpec{Name: "FORGED", IIN: directorIIN, BIN: "123456789013", Role: "head"})
			doc, err := b.crm.files.Get(Blob{SHA256: d.SHA256})
			require.NoError(b.t, err)
			f := b.sign(formatPAdES, doc, l)
			return b.signed(p, d, f, b.meta(p, d, f, l))
		}},
		{"another person's certificate", "41", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			doc, err := b.crm.files.Get(Blob{SHA256: d.SHA256})
			require.NoError(b.t, err)
			f := b.sign(formatPAdES, doc, b.other)
			return b.signed(p, d, f, b.meta(p, d, f, b.other))
		}},
		{"another role of the same person", "41", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			l := b.issue(b.pki, testcerts.LeafSpec{Name: "ТЕСТОВ ДИРЕКТОР", IIN: directorIIN, BIN: "123456789013", Role: "employee"})
			doc, err := b.crm.files.Get(Blob{SHA256: d.SHA256})
			require.NoError(b.t, err)
			f := b.sign(formatPAdES, doc, l)
			return b.signed(p, d, f, b.meta(p, d, f, l))
		}},
		{"metadata names another certificate", "41", 422, func(b *bench, p signParams, d signDoc, f []byte) *delivery {
			return b.signed(p, d, f, b.meta(p, d, f, b.other))
		}},
		{"CMS of another text", "44", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			f := b.sign(formatCAdES, []byte("I owe you everything"), b.director)
			return b.signed(p, d, f, b.meta(p, d, f, b.director))
		}},
		{"CMS that is none", "44", 422, func(b *bench, p signParams, d signDoc, _ []byte) *delivery {
			f := []byte("0\x03\x02\x01\x00")
			return b.signed(p, d, f, b.meta(p, d, f, b.director))
		}},
		{"event under another name", "41", 422, func(b *bench, p signParams, _ signDoc, _ []byte) *delivery {
			x := b.event(p, "rejected", nil)
			x.key = p.Job + ":opened"
			return x
		}},
		{"event of unknown documents", "41", 422, func(b *bench, p signParams, _ signDoc, _ []byte) *delivery {
			return b.event(p, "rejected", map[string]any{"documents": []string{"other"}})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			p, d, file := b.ready(c.deal)
			status, text := c.damage(b, p, d, file).send()
			assert.Equal(t, c.status, status, text)
			doc := b.deal(c.deal).Document(d.ID)
			assert.Equal(t, Sent, doc.Status())
			assert.Empty(t, doc.Signatures)
		})
	}
}

func TestReplay(t *testing.T) {
	b := newBench(t)
	p, d, file := b.ready("41")
	x := b.signed(p, d, file, b.meta(p, d, file, b.director))
	for range 3 {
		status, text := x.send()
		require.Equal(t, http.StatusOK, status, text)
	}
	require.Len(t, b.deal("41").Document(d.ID).Signatures, 1)
	n := len(b.history("41"))

	// The same key with another file, which would be a good signature too.
	doc, err := b.crm.files.Get(Blob{SHA256: d.SHA256})
	require.NoError(t, err)
	b.now = b.now.Add(time.Second)
	second := b.sign(formatPAdES, doc, b.director)
	status, _ := b.signed(p, d, second, b.meta(p, d, second, b.director)).send()
	assert.Equal(t, http.StatusUnprocessableEntity, status)
	assert.Len(t, b.deal("41").Document(d.ID).Signatures, 1)
	assert.Len(t, b.history("41"), n)
}

func TestTooLarge(t *testing.T) {
	b := newBench(t)
	p, d, _ := b.ready("41")
	x := b.delivery(p, d.ID, "multipart/form-data; boundary=x", make([]byte, maxResult+1))
	status, _ := x.send()
	assert.Equal(t, http.StatusRequestEntityTooLarge, status)
}

func TestRejected(t *testing.T) {
	b := newBench(t)
	p, _, _ := b.ready("42")
	x := b.event(p, "rejected", map[string]any{"reason": "wrong_terms", "text": "The rent is <b>wrong</b>"})
	for range 2 {
		status, text := x.send()
		require.Equal(t, http.StatusOK, status, text)
	}
	assert.Equal(t, Rejected, b.deal("42").Status())
	h := b.history("42")
	require.Len(t, h, 2)
	assert.Equal(t, "does not agree with the terms: “The rent is <b>wrong</b>”", h[0].Note)
	code, page, _ := b.login("director").get("/deals/42")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, page, "does not agree with the terms")
	assert.NotContains(t, page, "<b>wrong")

	// A late "opened" changes nothing; pressing Sign again is a new job.
	status, _ := b.event(p, "opened", nil).send()
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, Rejected, b.deal("42").Status())
	again := b.login("director").start("42")
	assert.NotEqual(t, p.Job, again.Job)
	assert.Equal(t, Sent, b.deal("42").Status())
}

func TestFreshBearer(t *testing.T) {
	b := newBench(t)
	p, d, file := b.ready("41")
	b.now = b.now.Add(BearerTime + time.Minute)
	status, _ := b.signed(p, d, file, b.meta(p, d, file, b.director)).send()
	require.Equal(t, http.StatusUnauthorized, status)
	assert.Equal(t, http.StatusNotFound, b.login("partner").post("/api/jobs/"+p.Job+"/bearer", struct{}{}, nil), "another's job")
	var fresh struct {
		Delivery signDelivery `json:"delivery"`
	}
	require.Equal(t, http.StatusOK, b.login("director").post("/api/jobs/"+p.Job+"/bearer", struct{}{}, &fresh))
	p.Delivery = fresh.Delivery
	status, text := b.signed(p, d, file, b.meta(p, d, file, b.director)).send()
	assert.Equal(t, http.StatusOK, status, text)
}

func TestBatch(t *testing.T) {
	b := newBench(t)
	br := b.login("director").enrol()
	p := br.start("45")
	require.Len(t, p.Documents, 50)
	for i, d := range p.Documents[:30] {
		code, doc := b.fetch(d)
		require.Equal(t, http.StatusOK, code, i)
		f := b.sign(formatPAdES, doc, b.director)
		status, text := b.signed(p, d, f, b.meta(p, d, f, b.director)).send()
		require.Equal(t, http.StatusOK, status, text)
	}
	deal := b.deal("45")
	assert.Equal(t, 30, deal.SignedBy(Ours))
	assert.Equal(t, Sent, deal.Status())
	require.Equal(t, http.StatusNoContent, br.post("/api/jobs/"+p.Job+"/close", struct{}{}, nil))
	rest := br.start("45")
	assert.NotEqual(t, p.Job, rest.Job)
	assert.Len(t, rest.Documents, 20)
	assert.Equal(t, fmt.Sprintf("act-%02d", 31), rest.Documents[0].ID)
}
