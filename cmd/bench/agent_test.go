package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"tanba/tokens/tokentest"
)

// firstPort is away from an agent that a person may be running.
const firstPort = 17750

// An agent is a running tanba with the folders of its own.
type agent struct {
	t       *testing.T
	cmd     *exec.Cmd
	prompts string // file to which our xdg-open writes addresses
	env     []string
	bin     string
	port    string
	started time.Duration // exec to listening
}

func startAgent(t *testing.T, bins, settings string, env ...string) *agent {
	dir, err := os.MkdirTemp("", "tb") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &agent{t: t, prompts: filepath.Join(dir, "prompts"), bin: filepath.Join(bins, "tanba")}
	config := filepath.Join(dir, "c.toml")
	require.NoError(t, os.WriteFile(config, []byte(settings+fmt.Sprintf("port_first = %d\nport_last = %d\n", firstPort, firstPort+9)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" >> "+a.prompts+"\n"), 0o755))
	a.env = append(env, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_RUNTIME_DIR="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	a.cmd = exec.Command(a.bin, "--headless", "--config", config)
	a.cmd.Env = a.env
	out, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	from := time.Now()
	require.NoError(t, a.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	a.started = time.Since(from)
	a.port = strings.TrimSpace(line[strings.LastIndexByte(line, ':')+1:])
	t.Cleanup(func() { _ = a.cmd.Process.Signal(os.Interrupt); _ = a.cmd.Wait() })
	return a
}

// rss is the resident size now, in bytes.
func (a *agent) rss() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	require.NoError(a.t, err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	require.NoError(a.t, err)
	return kb << 10
}

func benchStart(t *testing.T, bins string) {
	best := time.Hour
	for range 5 {
		a := startAgent(t, bins, "find_modules = false\n")
		best = min(best, a.started)
		require.NoError(t, a.cmd.Process.Signal(os.Interrupt))
		_ = a.cmd.Wait()
	}
	a := startAgent(t, bins, "find_modules = false\n")
	time.Sleep(3 * time.Second)
	table = append(table, row{"exec → listening", best.Round(100 * time.Microsecond).String(), "", "", ""})
	table = append(table, row{"idle RSS", fmt.Sprintf("%.1f MB", float64(a.rss())/(1<<20)), "", "", "≤ 25 MB"})
}

const batchSize = 1000

// benchBatch signs 1,000 small PDFs on SoftHSM through the whole agent.
func benchBatch(t *testing.T, bins string) {
	bed := tokentest.EmptySoftHSM(t)
	pki := tokentest.NewPKI(t)
	rsa := pki.Pair(t, "rsa")
	bed.ImportKey(t, rsa)
	bed.ImportCertificate(t, rsa.Certificate, rsa.ID, rsa.Name)

	bare := filepath.Join(t.TempDir(), "bare")
	out, err := exec.CommandContext(t.Context(), "gcc", "-O2", "-I../../testcerts/softtoken/module", "-o", bare, "testdata/bare.c", "-ldl").CombinedOutput()
	require.NoError(t, err, string(out))
	loop := func() float64 {
		c := exec.CommandContext(t.Context(), bare, bed.Module, bed.Label, bed.PIN, strconv.Itoa(batchSize))
		c.Env = append(os.Environ(), bed.Env...)
		out, err := c.CombinedOutput()
		require.NoError(t, err, string(out))
		s, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		require.NoError(t, err)
		return s
	}

	crm := startCRM(t)
	a := startAgent(t, bins, fmt.Sprintf("find_modules = false\nmodules = [%q]\nhttp_origins = [%q]\nallowed_sites = [%q]\n", bed.Module, crm.origin, crm.origin), bed.Env...)
	page := a.connect(crm.origin)
	small := smallPDF()
	var before, signing, delivered float64 = 1e9, 1e9, 1e9
	for round := range 3 {
		before = min(before, loop())
		crm.got.Store(0)
		s, d := a.batch(page, crm, "bench"+strconv.Itoa(round), small, bed.PIN)
		signing, delivered = min(signing, s), min(delivered, d)
	}
	rate := func(s float64) string { return fmt.Sprintf("%.0f/s", batchSize/s) }
	table = append(table,
		row{"1,000 small PDFs, signed and kept", rate(signing), "bare C_Sign loop " + rate(before), fmt.Sprintf("%.2f", before/signing), "≥ 0.85"},
		row{"1,000 small PDFs, until the CRM has them", rate(delivered), "bare C_Sign loop " + rate(before), fmt.Sprintf("%.2f", before/delivered), ""},
		row{"RSS after that", fmt.Sprintf("%.1f MB", float64(a.rss())/(1<<20)), "", "", ""})
}

// A crm takes results and counts them.
type crm struct {
	origin string
	got    atomic.Int64
}

func startCRM(t *testing.T) *crm {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &crm{origin: "http://" + l.Addr().String()}
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
			c.got.Add(1)
		}
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return c
}

func (a *agent) connect(origin string) *websocket.Conn {
	d := websocket.Dialer{Subprotocols: []string{"tanba.v1"}}
	c, resp, err := d.DialContext(a.t.Context(), "ws://127.0.0.1:"+a.port+"/v1", http.Header{"Origin": {origin}})
	require.NoError(a.t, err)
	_ = resp.Body.Close()
	a.t.Cleanup(func() { _ = c.Close() })
	a.send(c, "hello", map[string]any{"nonce": base64.RawURLEncoding.EncodeToString(make([]byte, 32))})
	a.await(c, func(m message) bool { return m.ID != 0 })
	return c
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func (a *agent) send(c *websocket.Conn, method string, params map[string]any) {
	require.NoError(a.t, c.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
}

// await reads until want is true of a message. An error from the agent ends
// the benchmark.
func (a *agent) await(c *websocket.Conn, want func(message) bool) message {
	for {
		require.NoError(a.t, c.SetReadDeadline(time.Now().Add(2*time.Minute)))
		var m message
		require.NoError(a.t, c.ReadJSON(&m))
		require.Empty(a.t, string(m.Error))
		if want(m) {
			return m
		}
	}
}

// batch signs the document a thousand times in one job, and returns the
// seconds from the PIN until the last is signed, and until the CRM has all.
func (a *agent) batch(c *websocket.Conn, to *crm, id string, pdf []byte, pin string) (signing, delivered float64) {
	require.NoError(a.t, os.RemoveAll(a.prompts))
	var docs []map[string]any
	inline := base64.StdEncoding.EncodeToString(pdf)
	for i := range batchSize {
		docs = append(docs, map[string]any{"id": strconv.Itoa(i), "name": "act.pdf", "format": "pades", "content": map[string]any{"inline": inline}})
	}
	a.send(c, "sign", map[string]any{"job": id, "documents": docs, "delivery": map[string]any{"url": to.origin + "/results", "bearer": "b"}})
	var began time.Time
	signer := make(chan error, 1)
	go func() { signer <- a.approve(pin, &began) }()
	a.await(c, func(m message) bool {
		var p struct{ Step string }
		if m.Method != "progress" || json.Unmarshal(m.Params, &p) != nil {
			return false
		}
		return p.Step == "delivering"
	})
	last := time.Now()
	require.NoError(a.t, <-signer)
	for to.got.Load() < batchSize && time.Since(last) < time.Minute {
		time.Sleep(time.Millisecond)
	}
	require.EqualValues(a.t, batchSize, to.got.Load())
	all := time.Now()
	a.await(c, func(m message) bool { return len(m.Result) > 0 })
	return last.Sub(began).Seconds(), all.Sub(began).Seconds()
}

// approve plays the signer on the prompt's page, as its script would.
func (a *agent) approve(pin string, began *time.Time) error {
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	var address string
	for address == "" {
		b, err := os.ReadFile(a.prompts)
		if err == nil {
			address = strings.TrimSpace(string(b))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	origin, _, _ := strings.Cut(strings.TrimPrefix(address, "http://"), "/")
	origin = "http://" + origin
	_, secret, _ := strings.Cut(address, "#")
	bearer := ""
	post := func(path, kind string, body []byte) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Origin", origin)
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", "Bearer "+bearer)
		return http.DefaultClient.Do(r)
	}
	call := func(path string, in, out any) error {
		kind, body := "application/json", []byte(nil)
		if raw, ok := in.([]byte); ok {
			kind, body = "application/octet-stream", raw
		} else {
			body, _ = json.Marshal(in)
		}
		resp, err := post(path, kind, body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s %s", path, resp.Status, said)
		}
		return json.Unmarshal(said, out)
	}
	var in struct{ Bearer string }
	if err := call("/api/redeem", map[string]string{"secret": secret}, &in); err != nil {
		return err
	}
	bearer = in.Bearer
	var view struct {
		Documents []struct {
			ID     string `json:"id"`
			SHA256 string `json:"sha256"`
		}
	}
	if err := call("/api/call/load", struct{}{}, &view); err != nil {
		return err
	}
	stream, err := post("/api/stream", "", nil)
	if err != nil {
		return err
	}
	defer stream.Body.Close()
	identity := ""
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 4<<20)
	for identity == "" && lines.Scan() {
		var e struct {
			Data struct {
				Tokens []struct{ Identities []struct{ ID string } }
			}
		}
		if json.Unmarshal(lines.Bytes(), &e) == nil && len(e.Data.Tokens) > 0 && len(e.Data.Tokens[0].Identities) > 0 {
			identity = e.Data.Tokens[0].Identities[0].ID
		}
	}
	go func() {
		for lines.Scan() { // the page stays open
		}
	}()
	var ok struct{ Unlocked bool }
	if err := call("/api/call/focus", map[string]bool{"on": true}, &ok); err != nil {
		return err
	}
	time.Sleep(1100 * time.Millisecond)
	if err := call("/api/call/approve", map[string]any{"documents": view.Documents, "identity": identity, "finalTry": false}, &ok); err != nil {
		return err
	}
	*began = time.Now()
	if err := call("/api/raw/pin", []byte(pin), &ok); err != nil {
		return err
	}
	if !ok.Unlocked {
		return errors.New("not unlocked")
	}
	return nil
}

// smallPDF is a PDF of one page with a line of text.
func smallPDF() []byte {
	var b bytes.Buffer
	var at []int
	b.WriteString("%PDF-1.7\n")
	text := "BT /F1 12 Tf 40 700 Td (Act of acceptance) Tj ET"
	for i, o := range []string{
		"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
		fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(text), text), "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
	} {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	x := b.Len()
	b.WriteString("xref\n0 6\n0000000000 65535 f \n")
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", x)
	return b.Bytes()
}
