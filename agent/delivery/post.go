package delivery

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"tanba/agent/job"
)

// A Trouble says in one stable word what stands in the way of an item.
type Trouble string

// The troubles.
const (
	TroubleHTTP      Trouble = "http_status"         // Item.Status tells
	TroubleNoAnswer  Trouble = "no_answer"           // no connection, or it broke
	TroubleTimeout   Trouble = "timed_out"           // no progress for 30 s
	TroubleNoName    Trouble = "host_unknown"        // DNS knows no such host
	TroubleUntrusted Trouble = "certificate_unknown" // TLS: signed by nobody we trust
	TroubleExpired   Trouble = "certificate_expired" // TLS: expired or not yet valid
	TroubleOtherHost Trouble = "certificate_other"   // TLS: for another name
	TroubleTLS       Trouble = "tls_failed"          // TLS: anything else
	TroubleRedirect  Trouble = "redirected"          // to where bytes may not go, or in circles
	TroubleTarget    Trouble = "target_not_allowed"  // policy changed since
	TroubleDamaged   Trouble = "file_damaged"        // the file on disk is not what was signed
	TroubleInternal  Trouble = "internal"            // on this computer; the log tells
)

type verdict int

const (
	again verdict = iota
	delivered
	park
	refuse
)

// An outcome is how one attempt ended.
type outcome struct {
	verdict    verdict
	code       job.Code
	trouble    Trouble
	status     int
	retryAfter time.Duration
	// target is true when other items for the same target would fare alike,
	// throttled when the CRM asks to slow down.
	target, throttled bool
}

// A delivery is what one attempt needs, taken while the lock was held.
type delivery struct {
	origin, url string
	bearer      job.Secret
	rec         record
	seq         uint64
}

const maxHops = 3

// newClient returns a client without cookies that follows no redirect by
// itself.
func newClient(roots []string) (*http.Client, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's roots: %w", err)
	}
	for _, path := range roots {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("malformed roots %s: no certificate", path)
		}
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: attemptTimeout}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
			TLSHandshakeTimeout:    attemptTimeout,
			MaxIdleConnsPerHost:    perTarget,
			MaxConnsPerHost:        2 * perTarget,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		},
	}, nil
}

// deliver makes one attempt.
func (o *Outbox) deliver(ctx context.Context, d delivery) outcome {
	if _, _, err := o.checkTarget(d.origin, d.url); err != nil {
		return outcome{verdict: refuse, code: job.CodeTarget, trouble: TroubleTarget}
	}
	var meta []byte
	err := o.db.View(func(tx *bbolt.Tx) error {
		meta = bytes.Clone(tx.Bucket(bucketMeta).Get(seqKey(d.seq)))
		return nil
	})
	now := o.cfg.Now()
	var m message
	if err == nil {
		m, err = compose(d.rec, meta, o.cfg.Dir, now)
	}
	if errors.Is(err, errDamaged) || errors.Is(err, os.ErrNotExist) {
		o.log.Error("signed file damaged", "item", d.seq, "err", err)
		return outcome{verdict: refuse, code: job.CodeInternal, trouble: TroubleDamaged}
	}
	var key ed25519.PrivateKey
	if err == nil {
		key, err = o.cfg.Key(d.origin)
	}
	if err != nil {
		o.log.Error("composing a delivery", "item", d.seq, "err", err)
		return outcome{code: job.CodeInternal, trouble: TroubleInternal}
	}
	return o.post(ctx, d, o.headers(d, m, key, now), m.body)
}

// headers returns the headers of agent/PROTOCOL.md, section 2.
func (o *Outbox) headers(d delivery, m message, key ed25519.PrivateKey, at time.Time) http.Header {
	sum := sha256.Sum256(m.body)
	h := http.Header{
		"Content-Type":      {m.contentType},
		"Idempotency-Key":   {`"` + d.rec.Key + `"`},
		"Content-Digest":    {"sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"},
		"Webhook-Id":        {d.rec.Key},
		"Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"Webhook-Signature": {"v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, m.signed))},
		"User-Agent":        {"Tanba/" + o.cfg.Device.Agent},
	}
	if b := d.bearer.Reveal(); b != "" {
		h.Set("Authorization", "Bearer "+b)
	}
	return h
}

// post sends the body, following at most maxHops redirects that keep method
// and origin.
func (o *Outbox) post(ctx context.Context, d delivery, h http.Header, body []byte) outcome {
	raw := d.url
	for hop := 0; ; hop++ {
		u, target, err := o.checkTarget(d.origin, raw)
		if err != nil {
			return outcome{verdict: refuse, code: job.CodeRefusedByCRM, trouble: TroubleRedirect}
		}
		out, location := o.postOnce(ctx, u, h, body)
		if location == "" {
			return out
		}
		next, err := u.Parse(location)
		if err != nil || hop == maxHops {
			return out
		}
		if _, to, err := parseTarget(next.String()); err != nil || to != target {
			return out
		}
		raw = next.String()
	}
}

// postOnce makes one request. location is set for a redirect that keeps the
// method; the outcome is then what holds if it is not followed.
func (o *Outbox) postOnce(ctx context.Context, u *url.URL, h http.Header, body []byte) (out outcome, location string) {
	dog := watch(ctx, o.timeout)
	defer dog.stop()
	req, err := http.NewRequestWithContext(dog.ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return outcome{verdict: refuse, code: job.CodeTarget, trouble: TroubleTarget}, ""
	}
	req.Header = h
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) {
		return io.NopCloser(&aliveReader{r: bytes.NewReader(body), alive: dog.alive}), nil
	}
	req.Body, _ = req.GetBody()
	resp, err := o.client.Do(req)
	if err != nil {
		return outcome{code: job.CodeUnreachableCRM, trouble: dog.trouble(err), target: true}, ""
	}
	// The answer's text says nothing to us; reading it keeps the connection.
	_, _ = io.CopyN(io.Discard, resp.Body, o.cfg.Limits.Reply)
	_ = resp.Body.Close()
	out = o.judge(resp)
	if resp.StatusCode == http.StatusTemporaryRedirect || resp.StatusCode == http.StatusPermanentRedirect {
		location = resp.Header.Get("Location")
	}
	return out, location
}

// judge decides by the status alone.
func (o *Outbox) judge(resp *http.Response) outcome {
	out := outcome{status: resp.StatusCode}
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		out.verdict = delivered
		return out
	case s >= 300 && s < 400:
		out.verdict, out.code, out.trouble = refuse, job.CodeRefusedByCRM, TroubleRedirect
		return out
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		out.verdict = park
	case s == http.StatusTooManyRequests || s == http.StatusBadGateway || s == http.StatusServiceUnavailable || s == http.StatusGatewayTimeout:
		out.throttled, out.target = true, true
	case s >= 500 || s == http.StatusRequestTimeout || s == http.StatusConflict || s == http.StatusTooEarly:
	default:
		out.verdict, out.code = refuse, job.CodeRefusedByCRM
	}
	out.trouble = TroubleHTTP
	if out.verdict == again {
		out.code = job.CodeUnreachableCRM
		out.retryAfter = retryAfter(resp.Header.Get("Retry-After"), o.cfg.Now())
	}
	return out
}

// retryAfter reads RFC 9110, section 10.2.3: seconds, or a date. It returns
// zero when there is none, and at least a second, at most a day otherwise.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	var d time.Duration
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	} else {
		return 0
	}
	return min(max(d, time.Second), maxRetryAfter)
}

// trouble says why there was no answer.
func (w *watchdog) trouble(err error) Trouble {
	if errors.Is(context.Cause(w.ctx), errSilent) {
		return TroubleTimeout
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired {
		return TroubleExpired
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return TroubleOtherHost
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return TroubleUntrusted
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return TroubleTimeout
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return TroubleNoName
	}
	if w.tlsFailed.Load() {
		return TroubleTLS
	}
	return TroubleNoAnswer
}

var errSilent = errors.New("no progress")

// A watchdog ends its context with errSilent when nothing tells it for d that
// the request moves.
type watchdog struct {
	ctx       context.Context
	cancel    context.CancelCauseFunc
	timer     *time.Timer
	d         time.Duration
	tlsFailed atomic.Bool
}

func watch(ctx context.Context, d time.Duration) *watchdog {
	w := &watchdog{d: d}
	ctx, w.cancel = context.WithCancelCause(ctx)
	w.ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { w.tlsFailed.Store(err != nil) },
	})
	w.timer = time.AfterFunc(d, func() { w.cancel(errSilent) })
	return w
}

func (w *watchdog) alive() { w.timer.Reset(w.d) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// An aliveReader tells of each read.
type aliveReader struct {
	r     io.Reader
	alive func()
}

func (a *aliveReader) Read(p []byte) (int, error) {
	a.alive()
	return a.r.Read(p)
}
