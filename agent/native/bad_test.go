package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

// TestBadMessages: each is answered with one code, and the socket goes on.
func TestBadMessages(t *testing.T) {
	b := newBench(t, func(b *bench) { b.cfg.Limits.Document = 1000; b.cfg.Limits.Job = 1500 })
	p := b.dial(crm)
	long := strings.Repeat("QUJD", 400) // 1200 bytes
	document := func(member string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":[{"id":"a","name":"a.pdf",` + member + `}],"delivery":{"url":"https://crm.example.kz/r"}}}`
	}
	job1 := func(member string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"sign","params":{` + member + `"documents":[{"id":"a","name":"a.pdf","format":"pades","content":{"inline":"QQ=="}}],"delivery":{"url":"https://crm.example.kz/r"}}}`
	}
	many := `{"id":"a","name":"a","format":"cades","content":{"inline":""}}`
	for _, c := range []struct {
		name, text string
		code       job.Code
		at         string
	}{
		{"no JSON", `hello`, codeParse, ""},
		{"empty", ``, codeParse, ""},
		{"doubled key", `{"jsonrpc":"2.0","id":1,"id":2,"method":"hello"}`, codeParse, ""},
		{"too deep", `{"jsonrpc":"2.0","id":1,"method":"hello","params":` + strings.Repeat(`{"a":`, 32) + `1` + strings.Repeat(`}`, 33), codeParse, ""},
		{"too many values", `{"jsonrpc":"2.0","id":1,"method":"hello","params":{"a":[` + strings.Repeat("1,", 40_000) + `1]}}`, codeParse, ""},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"hello"}]`, job.CodeInvalid, ""},
		{"no version", `{"id":1,"method":"hello"}`, job.CodeInvalid, ""},
		{"another version", `{"jsonrpc":"1.0","id":1,"method":"hello"}`, job.CodeInvalid, ""},
		{"no id", `{"jsonrpc":"2.0","method":"hello"}`, job.CodeInvalid, ""},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"hello"}`, job.CodeInvalid, ""},
		{"broken id", `{"jsonrpc":"2.0","id":1.5,"method":"hello"}`, job.CodeInvalid, ""},
		{"object as id", `{"jsonrpc":"2.0","id":{},"method":"hello"}`, job.CodeInvalid, ""},
		{"long id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 65) + `","method":"hello"}`, job.CodeInvalid, ""},
		{"no method", `{"jsonrpc":"2.0","id":1}`, job.CodeInvalid, ""},
		{"method as number", `{"jsonrpc":"2.0","id":1,"method":5}`, job.CodeInvalid, ""},
		{"unknown key", `{"jsonrpc":"2.0","id":1,"method":"hello","extra":1}`, job.CodeInvalid, ""},
		{"key in capitals", `{"jsonrpc":"2.0","id":1,"Method":"hello"}`, job.CodeInvalid, ""},
		{"unknown method", `{"jsonrpc":"2.0","id":1,"method":"getCertificates"}`, codeMethod, ""},
		{"method in capitals", `{"jsonrpc":"2.0","id":1,"method":"Hello"}`, codeMethod, ""},
		{"params as list", `{"jsonrpc":"2.0","id":1,"method":"hello","params":[]}`, codeParams, "params"},

		{"no job", job1(``), codeParams, "job"},
		{"job as number", job1(`"job":41,`), codeParams, "job"},
		{"job with a space", job1(`"job":"a b",`), codeParams, "job"},
		{"empty job", job1(`"job":"",`), codeParams, "job"},
		{"long job", job1(`"job":"` + strings.Repeat("a", 65) + `",`), codeParams, "job"},
		{"unknown key in sign", job1(`"job":"j","pin":"1234",`), codeParams, "params"},
		{"title as number", job1(`"job":"j","title":1,`), codeParams, "title"},
		{"unknown filter", job1(`"job":"j","filter":{"oid":"1.2"},`), job.CodeUnknownFilter, "filter"},
		{"filter of another kind", job1(`"job":"j","filter":{"roles":"head"},`), job.CodeUnknownFilter, "filter.roles"},
		{"filter with a number", job1(`"job":"j","filter":{"fingerprints":[1]},`), job.CodeUnknownFilter, "filter.fingerprints"},
		{"filter as list", job1(`"job":"j","filter":[],`), codeParams, "filter"},

		{"documents as object", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":{},"delivery":{"url":"x"}}}`, codeParams, "documents"},
		{"document as string", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":["a"],"delivery":{"url":"x"}}}`, codeParams, "documents[0]"},
		{"1,001 documents", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":[` + strings.Repeat(many+",", 1000) + many + `],"delivery":{"url":"x"}}}`, job.CodeTooMany, ""},
		{"no delivery", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":[]}}`, codeParams, "delivery"},
		{"delivery without url", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":[],"delivery":{}}}`, codeParams, "delivery.url"},
		{"delivery with more", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":[],"delivery":{"url":"x","method":"PUT"}}}`, codeParams, "delivery"},
		{"expires in words", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":[],"delivery":{"url":"x","expires":"tomorrow"}}}`, codeParams, "delivery.expires"},

		{"no content", document(`"format":"pades"`), codeParams, "documents[0].content"},
		{"empty content", document(`"format":"pades","content":{}`), codeParams, "documents[0].content"},
		{"two contents", document(`"format":"pades","content":{"inline":"","url":"https://crm.example.kz/a"}`), codeParams, "documents[0].content"},
		{"unknown content", document(`"format":"pades","content":{"path":"/etc/passwd"}`), codeParams, "documents[0].content"},
		{"bearer for inline", document(`"format":"pades","content":{"inline":"","bearer":"b"}`), codeParams, "documents[0].content"},
		{"empty url", document(`"format":"pades","content":{"url":""}`), codeParams, "documents[0].content.url"},
		{"unknown format", document(`"format":"xades","content":{"inline":"QQ=="}`), codeParams, "documents[0].format"},
		{"format in capitals", document(`"format":"PADES","content":{"inline":"QQ=="}`), codeParams, "documents[0].format"},
		{"attached PDF", document(`"format":"pades","attached":false,"content":{"inline":"QQ=="}`), codeParams, "documents[0].attached"},
		{"digest too short", document(`"format":"pades","sha256":"00","content":{"inline":"QQ=="}`), codeParams, "documents[0].sha256"},
		{"digest in capitals", document(`"format":"pades","sha256":"` + strings.Repeat("AA", 32) + `","content":{"inline":"QQ=="}`), codeParams, "documents[0].sha256"},
		{"unknown key in a document", document(`"format":"pades","level":"B-LTA","content":{"inline":"QQ=="}`), codeParams, "documents[0]"},
		{"base64 of another alphabet", document(`"format":"pades","content":{"inline":"QQ-_"}`), codeBase64, "documents[0].content"},
		{"base64 without padding", document(`"format":"pades","content":{"inline":"QQ"}`), codeBase64, "documents[0].content"},
		{"base64 with bits left over", document(`"format":"pades","content":{"inline":"QR=="}`), codeBase64, "documents[0].content"},
		{"base64 with a line break", document(`"format":"pades","content":{"inline":"QUJD\nQUJD"}`), codeBase64, "documents[0].content"},
		{"document over the limit", document(`"format":"pades","content":{"inline":"` + long + `"}`), job.CodeTooLarge, "documents[0].content"},
		{"job over the limit", `{"jsonrpc":"2.0","id":1,"method":"sign","params":{"job":"j","documents":[` +
			strings.Repeat(`{"id":"a","name":"a","format":"cades","content":{"inline":"`+long[:1200]+`"}},`, 1) +
			`{"id":"b","name":"a","format":"cades","content":{"inline":"` + long[:1200] + `"}}],"delivery":{"url":"x"}}}`, job.CodeTooLarge, ""},
		{"unknown stream", document(`"format":"pades","content":{"stream":7}`), codeStream, ""},
		{"stream beyond 32 bits", document(`"format":"pades","content":{"stream":4294967297}`), codeStream, ""},
		{"negative stream", document(`"format":"pades","content":{"stream":-1}`), codeParams, "documents[0].content.stream"},
		{"broken stream", document(`"format":"pades","content":{"stream":1.5}`), codeParams, "documents[0].content.stream"},

		{"upload over the limit", `{"jsonrpc":"2.0","id":1,"method":"upload","params":{"size":1001}}`, job.CodeTooLarge, ""},
		{"upload of less than nothing", `{"jsonrpc":"2.0","id":1,"method":"upload","params":{"size":-1}}`, codeParams, "size"},
		{"upload of too much to count", `{"jsonrpc":"2.0","id":1,"method":"upload","params":{"size":9007199254740992}}`, codeParams, "size"},
		{"state of no job", `{"jsonrpc":"2.0","id":1,"method":"state","params":{}}`, codeParams, "job"},
		{"state with more", `{"jsonrpc":"2.0","id":1,"method":"state","params":{"job":"j","origin":"https://other.example"}}`, codeParams, "params"},
		{"deliver of nothing", `{"jsonrpc":"2.0","id":1,"method":"deliver","params":{"job":"j"}}`, codeParams, "delivery"},
		{"cancel of a strange job", `{"jsonrpc":"2.0","id":1,"method":"cancel","params":{"job":"../j"}}`, codeParams, "job"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			p.send(c.text)
			r := p.next()
			require.NotNil(t, r.Error, string(r.Result))
			assert.Equal(t, c.code, r.Error.Data.Code)
			assert.Equal(t, Texts[c.code], r.Error.Message)
			assert.Equal(t, number(c.code), r.Error.Number)
			assert.Equal(t, c.at, r.Error.Data.At)
			if id := string(r.ID); id != "1" && id != "null" {
				assert.Fail(t, "id "+id)
			}
		})
	}
	assert.Zero(t, b.jobs.runs.Load())
	p.t = t
	p.call(9, "hello", `{"nonce":"`+testNonce+`"}`)
	checkHello(t, p.next(), crm)
}

func TestFramesBeyondTheirBound(t *testing.T) {
	b := newBench(t, func(b *bench) { b.cfg.Limits.Frame = 100 << 10 })
	p := b.dial(crm)
	p.send(`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("a", 70<<10) + `"}`)
	assert.Equal(t, codeMethod, p.code())
	p.send(`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("a", 100<<10) + `"}`)
	assert.Equal(t, websocket.CloseMessageTooBig, p.closed())
	p = b.dial(crm)
	require.NoError(t, p.WriteMessage(websocket.TextMessage, make([]byte, 1<<20)))
	assert.Equal(t, websocket.CloseMessageTooBig, p.closed())
	p = b.dial(crm)
	p.call(1, "upload", `{"size":1000000}`)
	p.next()
	p.chunk(1, make([]byte, 256<<10+1))
	assert.Equal(t, websocket.CloseMessageTooBig, p.closed())
}

func TestChunksOfNothing(t *testing.T) {
	b := newBench(t, nil)
	for name, frame := range map[string][]byte{"empty": {}, "short": {0, 0, 1}, "header alone": {0, 0, 0, 1}, "unknown": {0, 0, 0, 9, 1}} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(crm)
			p.t = t
			p.call(1, "upload", `{"size":10}`)
			p.next()
			require.NoError(t, p.WriteMessage(websocket.BinaryMessage, frame))
			assert.Equal(t, websocket.ClosePolicyViolation, p.closed())
		})
	}
}

func TestStrangersFlood(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial(other)
	for range 3 * strangerBurst {
		if p.WriteMessage(websocket.TextMessage, []byte(`{}`)) != nil {
			break
		}
	}
	assert.Equal(t, websocket.ClosePolicyViolation, p.closed(), "messages")
	p = b.dial(other)
	for range 3 * strangerBurst {
		if p.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)) != nil {
			break
		}
	}
	assert.Equal(t, websocket.ClosePolicyViolation, p.closed(), "pings")
}

func TestAnAllowedSiteIsSlowedDown(t *testing.T) {
	b := newBench(t, nil)
	p := b.dial(crm)
	const n = messageBurst + 200
	start := time.Now()
	go func() {
		for i := range n {
			if p.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"upload","params":{"size":0}}`, i))) != nil {
				return
			}
		}
	}()
	for i := range n {
		r := p.next()
		require.Nil(t, r.Error)
		assert.JSONEq(t, fmt.Sprintf(`{"stream":%d}`, i+1), string(r.Result))
	}
	assert.GreaterOrEqual(t, time.Since(start), 200*messageEvery)
}

func TestAPageThatDoesNotRead(t *testing.T) {
	old := testOnlyWriteTime
	testOnlyWriteTime = time.Second
	defer func() { testOnlyWriteTime = old }()
	b := newBench(t, nil)
	b.jobs.run = func(context.Context, job.Request) (job.Receipt, error) { return delivered("j"), nil }
	b.jobs.state = func(_, id string) (job.Receipt, error) {
		return job.Receipt{Job: id, Documents: []job.DocumentReceipt{{ID: "a", State: job.Rejected, Text: strings.Repeat("no ", 1<<20)}}}, nil
	}
	p := b.dial(crm)
	for i := range 2 * outgoing {
		if p.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"state","params":{"job":"j"}}`, i))) != nil {
			break
		}
	}
	assert.Eventually(t, func() bool {
		b.server.mu.Lock()
		defer b.server.mu.Unlock()
		return len(b.server.sockets) == 0
	}, 10*time.Second, 20*time.Millisecond)
}

func TestRequestsAreBounded(t *testing.T) {
	b := newBench(t, nil)
	push := make(chan struct{})
	b.jobs.run = func(ctx context.Context, req job.Request) (job.Receipt, error) { return blockUntil(ctx, push, req.ID) }
	p := b.dial(crm)
	queue := b.cfg.Limits.Queue
	for i := range queue {
		p.call(i, "sign", signOne(fmt.Sprint("j", i)))
	}
	p.call(100, "sign", signOne("one-too-many"))
	assert.Equal(t, job.CodeBusy, p.code(), "jobs of one site")
	p.call(0, "state", `{"job":"j0"}`)
	assert.Equal(t, codeDuplicate, p.code())
	for i := queue; i < pending; i++ {
		p.call(i, "sign", signOne("j0")) // attached to the job that runs
	}
	p.call(101, "state", `{"job":"j0"}`)
	assert.Equal(t, job.CodeBusy, p.code(), "requests of one socket")
	close(push)
	for range pending {
		assert.Nil(t, p.next().Error)
	}
	assert.EqualValues(t, queue, b.jobs.runs.Load())
}

func TestUploadsAreBounded(t *testing.T) {
	b := newBench(t, func(b *bench) { b.cfg.Limits.Document, b.cfg.Limits.Job = 1000, 1500 })
	p := b.dial(crm)
	p.call(1, "upload", `{"size":1000}`)
	require.Nil(t, p.next().Error)
	p.chunk(1, make([]byte, 1000))
	p.call(2, "upload", `{"size":501}`)
	assert.Equal(t, job.CodeTooLarge, p.code(), "more than a job may have")
	q := b.dial(crm)
	q.call(1, "upload", `{"size":1000}`)
	require.Nil(t, q.next().Error)
	r := b.dial(crm)
	r.call(1, "upload", `{"size":1000}`)
	require.Nil(t, r.next().Error)
	s := b.dial(crm)
	s.call(1, "upload", `{"size":1}`)
	assert.Equal(t, job.CodeBusy, s.code(), "over all sockets")
	require.NoError(t, r.Close())
	assert.Eventually(t, func() bool { return b.server.stored.Load() == 2000 }, 5*time.Second, 10*time.Millisecond)
	s.call(1, "upload", `{"size":1}`)
	assert.Nil(t, s.next().Error)
}

func TestADiskThatTakesNothing(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.cfg.Spools = func() (*job.Spool, func() error, error) { return nil, nil, errors.New("disk full") }
	})
	p := b.dial(crm)
	p.call(1, "upload", `{"size":1000}`)
	assert.Equal(t, job.CodeDisk, p.code())
}

func TestADiskThatFillsUp(t *testing.T) {
	b := newBench(t, nil)
	make1 := b.server.cfg.Spools
	b.server.cfg.Spools = func() (*job.Spool, func() error, error) {
		s, remove, err := make1()
		if err == nil {
			_ = s.Close() // every write fails from now on
		}
		return s, remove, err
	}
	p := b.dial(crm)
	p.call(1, "upload", `{"size":10}`)
	require.Nil(t, p.next().Error)
	p.chunk(1, make([]byte, 4))
	p.chunk(1, make([]byte, 6))
	p.call(2, "sign", `{"job":"j","documents":[{"id":"a","name":"a","format":"cades","content":{"stream":1}}],"delivery":{"url":"x"}}`)
	r := p.next()
	require.NotNil(t, r.Error)
	assert.Equal(t, errorData{Code: job.CodeDisk, Document: "a"}, r.Error.Data)
	assert.Zero(t, b.jobs.runs.Load())
}

// TestEveryCodeHasItsText: no code of package job is without a sentence.
func TestEveryCodeHasItsText(t *testing.T) {
	seen := map[string]job.Code{}
	for c, text := range Texts {
		assert.Regexp(t, `^[A-Z].*\.$`, text)
		assert.NotContains(t, seen, text)
		seen[text] = c
		b, err := json.Marshal(string(c))
		require.NoError(t, err)
		assert.Regexp(t, `^"[a-z0-9_]+"$`, string(b))
	}
}
