package native

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

func TestHello(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial(crm)
	p.call(1, "hello", `{"nonce":"`+testNonce+`"}`)
	r := p.next()
	assert.Equal(t, "1", string(r.ID))
	checkHello(t, r, crm)
	for _, bad := range []string{`{}`, `{"nonce":""}`, `{"nonce":1}`, `{"nonce":"` + testNonce + `="}`, `{"nonce":"` + testNonce[:42] + `"}`, `{"nonce":"` + testNonce + `","more":1}`} {
		p.call(2, "hello", bad)
		assert.Equal(t, codeParams, p.code(), bad)
	}
}

func TestOnlyBehindTheGate(t *testing.T) {
	b := newBench(t, func(b *bench) { b.cfg.Origin = func(*http.Request) string { return "" } })
	d := websocket.Dialer{Subprotocols: []string{Subprotocol}}
	_, resp, err := d.Dial("ws"+strings.TrimPrefix(b.http.URL, "http")+Path, http.Header{"Origin": {crm}})
	require.Error(t, err)
	assert.Equal(t, http.StatusForbidden, resp.StatusCode)
}

func TestNoWebSocket(t *testing.T) {
	b := newBench(t, nil)
	resp, err := http.Get(b.http.URL + Path)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	assert.Equal(t, http.StatusForbidden, resp.StatusCode)
}

func TestStrangerLearnsNothing(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial(other)
	for _, m := range []string{"hello", "upload", "sign", "state", "deliver", "cancel", "version", "nonsense"} {
		p.call(1, m, `{"nonce":"`+testNonce+`"}`)
		assert.Equal(t, job.CodeSiteNotAllowed, p.code(), m)
	}
	b.server.TokensChanged(5)
	b.server.Progress(other, job.Progress{Job: "j", Step: job.StepOpened})
	p.call(1, "hello", `{}`)
	assert.Empty(t, p.any().Method, "no notification comes first")

	p.chunk(1, []byte("x"))
	assert.Equal(t, websocket.ClosePolicyViolation, p.closed())
	p = b.dial(other)
	p.send(`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("a", 64<<10) + `"}`)
	assert.Equal(t, websocket.CloseMessageTooBig, p.closed())
}

func TestRequestAccess(t *testing.T) {
	b := newBench(t, nil)
	answer := make(chan bool)
	b.access = func(_ context.Context, origin string) (bool, error) {
		assert.Equal(t, other, origin)
		return <-answer, nil
	}
	p, q := b.dial(other), b.dial(other)
	p.call(1, "requestAccess", `{"nonce":"`+testNonce+`"}`)
	time.Sleep(50 * time.Millisecond)
	q.call(1, "requestAccess", `{"nonce":"`+testNonce+`"}`) // the same question
	time.Sleep(50 * time.Millisecond)
	answer <- true
	checkHello(t, p.next(), other)
	checkHello(t, q.next(), other)
	p.call(2, "hello", `{"nonce":"`+testNonce+`"}`)
	checkHello(t, p.next(), other)
	p.call(3, "requestAccess", `{"nonce":"`+testNonce+`"}`)
	checkHello(t, p.next(), other)
	p.call(4, strings.Repeat("a", 100<<10), `{}`)
	assert.Equal(t, codeMethod, p.code(), "longer frames from now on")

	require.NoError(t, b.sites.Revoke(other))
	p.call(5, "hello", `{"nonce":"`+testNonce+`"}`)
	assert.Equal(t, job.CodeSiteNotAllowed, p.code(), "at once")
}

func TestAccessRefused(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial(other)
	p.call(1, "requestAccess", `{"nonce":"`+testNonce+`"}`)
	assert.Equal(t, job.CodeAccessRefused, p.code())
	assert.Equal(t, 1, b.sites.List()[1].Refusals)
	p.call(2, "requestAccess", `{"nonce":"`+testNonce+`"}`)
	assert.Equal(t, job.CodeTooManyRequests, p.code())

	for i, c := range []struct {
		err      error
		refusals int
	}{{job.Fail(job.CodeClosed, "", nil), 1}, {job.Fail(job.CodeTimeout, "", nil), 0}, {errors.New("no browser"), 0}} {
		origin := fmt.Sprintf("https://s%d.example", i)
		b.access = func(context.Context, string) (bool, error) { return false, c.err }
		p := b.dial(origin)
		p.call(1, "requestAccess", `{"nonce":"`+testNonce+`"}`)
		assert.Equal(t, job.CodeAccessRefused, p.code())
		n := 0
		for _, s := range b.sites.List() {
			if s.Origin == origin {
				n = s.Refusals
			}
		}
		assert.Equal(t, c.refusals, n)
	}
}

func TestSign(t *testing.T) {
	b := newBench(t, nil)
	var got job.Request
	b.jobs.run = func(_ context.Context, req job.Request) (job.Receipt, error) {
		got = req
		b.server.Progress(req.Origin, job.Progress{Job: req.ID, Step: job.StepOpened, Total: 1})
		b.server.Progress("https://elsewhere.example", job.Progress{Job: req.ID, Step: job.StepDone, Total: 1})
		return delivered(req.ID), nil
	}
	p := b.dial(crm)
	p.call(1, "sign", `{"job":"d41","title":"Deal","reference":"D-41","counterparty":"TOO","documents":[
		{"id":"a","name":"a.pdf","format":"pades","sha256":"`+strings.Repeat("0f", 32)+`","content":{"inline":"JVBERi0="}},
		{"id":"b","name":"b.txt","format":"cades","attached":true,"content":{"url":"https://crm.example.kz/b","bearer":"s3cret"}}],
		"filter":{"iin":"123456789012","bin":"210987654321","fingerprints":["aa"],"roles":["head"]},
		"delivery":{"url":"https://crm.example.kz/r","bearer":"b1","expires":"2026-11-22T12:00:00Z"}}`)
	n := p.any()
	assert.Equal(t, "progress", n.Method)
	assert.JSONEq(t, `{"job":"d41","step":"opened","done":0,"total":1}`, string(n.Params))
	r := p.any()
	require.Nil(t, r.Error)
	assert.JSONEq(t, `{"job":"d41","documents":[{"id":"contract","state":"delivered","sha256":"`+strings.Repeat("ab", 32)+`","certificate":"`+strings.Repeat("cd", 32)+`"}]}`, string(r.Result))

	assert.Equal(t, crm, got.Origin)
	assert.Equal(t, "d41", got.ID)
	assert.Equal(t, []string{"Deal", "D-41", "TOO"}, []string{got.Title, got.Reference, got.Counterparty})
	assert.Equal(t, job.Filter{IIN: "123456789012", BIN: "210987654321", Fingerprints: []string{"aa"}, Roles: []string{"head"}}, got.Filter)
	assert.Equal(t, "b1", got.Delivery.Bearer.Reveal())
	assert.Equal(t, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), got.Delivery.Expires)
	require.Len(t, got.Documents, 2)
	assert.Equal(t, "%PDF-", string(got.Documents[0].Content.Inline))
	assert.Equal(t, strings.Repeat("\x0f", 32), string(got.Documents[0].SHA256))
	assert.Equal(t, job.CAdES, got.Documents[1].Format)
	assert.True(t, got.Documents[1].Attached)
	assert.Equal(t, "https://crm.example.kz/b", got.Documents[1].Content.URL)
	assert.Equal(t, "s3cret", got.Documents[1].Content.Bearer.Reveal())
}

func TestChunks(t *testing.T) {
	b := newBench(t, nil)
	read := make(chan string, 3)
	b.jobs.run = func(_ context.Context, req job.Request) (job.Receipt, error) {
		for _, d := range req.Documents {
			data, err := io.ReadAll(d.Content.Blob.Reader())
			assert.NoError(t, err)
			read <- string(data)
		}
		return delivered(req.ID), nil
	}
	p := b.dial(crm)
	first, second := strings.Repeat("1", 256<<10), strings.Repeat("2", 1000)
	p.call(1, "upload", fmt.Sprintf(`{"size":%d}`, len(first)+5))
	assert.JSONEq(t, `{"stream":1}`, string(p.next().Result))
	p.chunk(1, []byte(first))
	p.call(2, "upload", `{"size":1000}`)
	assert.Equal(t, job.CodeBusy, p.code(), "one at a time")
	p.call(3, "sign", `{"job":"j","documents":[{"id":"a","name":"a","format":"cades","content":{"stream":1}}],"delivery":{"url":"https://crm.example.kz/r"}}`)
	assert.Equal(t, codeStream, p.code(), "not complete")
	p.chunk(1, []byte("11111"))
	p.call(4, "upload", `{"size":1000}`)
	assert.JSONEq(t, `{"stream":2}`, string(p.next().Result))
	p.chunk(2, []byte(second[:1]))
	p.chunk(2, []byte(second[1:]))
	p.call(5, "upload", `{"size":0}`)
	p.next()
	p.call(6, "sign", `{"job":"j","documents":[
		{"id":"b","name":"b","format":"cades","content":{"stream":2}},
		{"id":"a","name":"a","format":"cades","content":{"stream":1}},
		{"id":"c","name":"c","format":"cades","content":{"stream":3}}],"delivery":{"url":"https://crm.example.kz/r"}}`)
	require.Nil(t, p.next().Error)
	assert.Equal(t, second, <-read)
	assert.Equal(t, first+"11111", <-read)
	assert.Equal(t, "", <-read)
	p.call(7, "sign", `{"job":"k","documents":[{"id":"a","name":"a","format":"cades","content":{"stream":1}}],"delivery":{"url":"https://crm.example.kz/r"}}`)
	assert.Equal(t, codeStream, p.code(), "used")
	p.call(8, "upload", `{"size":10}`)
	assert.JSONEq(t, `{"stream":4}`, string(p.next().Result))
	p.chunk(4, []byte("12345678901"))
	assert.Equal(t, websocket.ClosePolicyViolation, p.closed(), "more than announced")
}

func TestMuchInlineContentGoesToTheDisk(t *testing.T) {
	b := newBench(t, nil)
	content := strings.Repeat("a line of a contract\n", 100_000)
	b.jobs.run = func(_ context.Context, req job.Request) (job.Receipt, error) {
		for _, d := range req.Documents {
			assert.Nil(t, d.Content.Inline)
			data, err := io.ReadAll(d.Content.Blob.Reader())
			assert.NoError(t, err)
			assert.Equal(t, content, string(data))
		}
		return delivered(req.ID), nil
	}
	p := b.dial(crm)
	inline := base64.StdEncoding.EncodeToString([]byte(content))
	p.call(1, "sign", `{"job":"j","documents":[{"id":"a","name":"a","format":"cades","content":{"inline":"`+inline+`"}},
		{"id":"b","name":"a","format":"cades","content":{"inline":"`+inline+`"}}],"delivery":{"url":"https://crm.example.kz/r"}}`)
	require.Nil(t, p.next().Error)
}

func TestTokenNotification(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial(crm)
	p.call(1, "hello", `{"nonce":"`+testNonce+`"}`)
	p.next()
	b.server.TokensChanged(0)
	n := p.any()
	assert.Equal(t, "tokens", n.Method)
	assert.JSONEq(t, `{"present":0}`, string(n.Params))
}

func TestStateAndDeliver(t *testing.T) {
	b := newBench(t, nil)
	b.jobs.state = func(origin, id string) (job.Receipt, error) {
		assert.Equal(t, crm, origin)
		if id != "known" {
			return job.Receipt{}, job.Fail(job.CodeUnknownJob, "", nil)
		}
		return job.Receipt{Job: id, Documents: []job.DocumentReceipt{
			{ID: "a", State: job.Parked, Code: job.CodeUnauthorized},
			{ID: "b", State: job.Rejected, Reason: job.ReasonOther, Text: "no"},
		}}, nil
	}
	b.jobs.redeliver = func(_, id string, d job.Delivery) (job.Receipt, error) {
		assert.Equal(t, "fresh", d.Bearer.Reveal())
		return delivered(id), nil
	}
	p := b.dial(crm)
	p.call(1, "state", `{"job":"known"}`)
	assert.JSONEq(t, `{"job":"known","documents":[{"id":"a","state":"parked","code":"delivery_unauthorized"},{"id":"b","state":"rejected","reason":"other","text":"no"}]}`, string(p.next().Result))
	p.call(2, "state", `{"job":"other"}`)
	assert.Equal(t, job.CodeUnknownJob, p.code())
	p.call(3, "deliver", `{"job":"known","delivery":{"url":"https://crm.example.kz/r","bearer":"fresh"}}`)
	r := p.next()
	require.Nil(t, r.Error)
	assert.Contains(t, string(r.Result), `"delivered"`)
	p.call(4, "cancel", `{"job":"known"}`)
	assert.Equal(t, job.CodeUnknownJob, p.code())
}

func TestErrorsOfARun(t *testing.T) {
	b := newBench(t, nil)
	var give error
	b.jobs.run = func(context.Context, job.Request) (job.Receipt, error) { return job.Receipt{}, give }
	p := b.dial(crm)
	i := 0
	for code := range Texts {
		i++
		give = fmt.Errorf("outer: %w", job.Fail(code, "contract", errors.New("secret cause")))
		p.call(i, "sign", signOne("j"))
		r := p.next()
		require.NotNil(t, r.Error)
		assert.Equal(t, errorData{Code: code, Document: "contract"}, r.Error.Data)
		assert.NotContains(t, r.Error.Message, "secret")
	}
	give = errors.New("secret cause")
	p.call(1, "sign", signOne("j"))
	assert.Equal(t, job.CodeInternal, p.code())
	give = job.Fail("a_code_that_is_not_in_the_table", "", nil)
	p.call(1, "sign", signOne("j"))
	assert.Equal(t, job.CodeInternal, p.code())
}

// blockUntil is a run that waits for its context or for a push.
func blockUntil(ctx context.Context, push <-chan struct{}, id string) (job.Receipt, error) {
	select {
	case <-ctx.Done():
		return job.Receipt{}, ctx.Err()
	case <-push:
		return delivered(id), nil
	}
}

func TestOneRunPerJob(t *testing.T) {
	b := newBench(t, nil)
	push := make(chan struct{})
	b.jobs.run = func(ctx context.Context, req job.Request) (job.Receipt, error) { return blockUntil(ctx, push, req.ID) }
	p, q := b.dial(crm), b.dial(crm)
	p.call(1, "sign", signOne("j"))
	assert.Eventually(t, func() bool { return b.jobs.runs.Load() == 1 }, time.Second, time.Millisecond)
	q.call(1, "sign", signOne("j"))
	q.call(2, "state", `{"job":"j"}`)
	assert.Equal(t, job.CodeRunning, q.code())
	q.call(3, "sign", strings.Replace(signOne("j"), "JVBERi0=", "JVBERi0x", 1))
	assert.Equal(t, job.CodeReused, q.code())
	q.call(4, "deliver", `{"job":"j","delivery":{"url":"https://crm.example.kz/r"}}`)
	assert.Equal(t, job.CodeRunning, q.code())
	close(push)
	assert.Nil(t, p.next().Error)
	assert.Nil(t, q.next().Error)
	assert.EqualValues(t, 1, b.jobs.runs.Load())
}

func TestCancel(t *testing.T) {
	b := newBench(t, nil)
	push := make(chan struct{})
	b.jobs.run = func(ctx context.Context, req job.Request) (job.Receipt, error) { return blockUntil(ctx, push, req.ID) }
	p := b.dial(crm)
	p.call(1, "sign", signOne("j"))
	p.call(2, "cancel", `{"job":"j"}`)
	codes := map[string]string{}
	for range 2 {
		r := p.next()
		codes[string(r.ID)] = string(r.Result)
		if r.Error != nil {
			codes[string(r.ID)] = string(r.Error.Data.Code)
		}
	}
	assert.Equal(t, map[string]string{"1": "cancelled", "2": "{}"}, codes)

	p.call(3, "sign", signOne("j"))
	assert.Eventually(t, func() bool { return b.jobs.runs.Load() == 2 }, time.Second, time.Millisecond)
	b.server.Progress(crm, job.Progress{Job: "j", Step: job.StepSigning, Total: 1})
	p.call(4, "cancel", `{"job":"j"}`)
	assert.Equal(t, job.CodeRunning, p.code(), "too late once approved")
	q := b.dial(other)
	require.NoError(t, b.sites.Allow(other, now))
	q.call(1, "cancel", `{"job":"j"}`)
	assert.Equal(t, job.CodeUnknownJob, q.code(), "another site's job")
	close(push)
	p.next()
}

func TestThePageGoesAway(t *testing.T) {
	old := testOnlyLinger
	testOnlyLinger = 300 * time.Millisecond
	defer func() { testOnlyLinger = old }()
	b := newBench(t, nil)
	push, ended := make(chan struct{}), make(chan error, 2)
	b.jobs.run = func(ctx context.Context, req job.Request) (job.Receipt, error) {
		r, err := blockUntil(ctx, push, req.ID)
		ended <- err
		return r, err
	}
	p := b.dial(crm)
	p.call(1, "sign", signOne("j"))
	assert.Eventually(t, func() bool { return b.jobs.runs.Load() == 1 }, time.Second, time.Millisecond)
	require.NoError(t, p.Close())
	time.Sleep(100 * time.Millisecond)
	p = b.dial(crm) // the page was loaded again
	p.call(1, "state", `{"job":"j"}`)
	assert.Equal(t, job.CodeRunning, p.code())
	select {
	case <-ended:
		assert.Fail(t, "the prompt was closed although the page came back")
	case <-time.After(2 * testOnlyLinger):
	}
	p.call(2, "sign", signOne("j"))
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, p.Close())
	select {
	case err := <-ended:
		assert.ErrorIs(t, err, context.Canceled)
	case <-time.After(5 * time.Second):
		assert.Fail(t, "the prompt stays open for nobody")
	}
	assert.EqualValues(t, 1, b.jobs.runs.Load())
}
