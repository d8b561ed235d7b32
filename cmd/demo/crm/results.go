package crm

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Bounds of what the agent may post.
const (
	maxResult   = 64 << 20  // body, bytes
	maxMetadata = 256 << 10 // the metadata part, bytes
)

// clockSkew is how far the time of an attempt may be from ours.
const clockSkew = 5 * time.Minute

// A refusal is an answer to the agent other than "done". 401 keeps the result
// with the agent until the page sends a fresh bearer, other 4xx are for good.
type refusal struct {
	status int
	reason string
}

func (e *refusal) Error() string { return e.reason }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// taken remembers a result that was accepted.
type taken struct {
	// Payload is the digest of what was taken: of the signed file, or of an
	// event's body.
	Payload string    `json:"payload"`
	At      time.Time `json:"at"`
}

// A posted result, authenticated but not yet looked into.
type posted struct {
	job  signing
	key  string // "<job>:<document>", "<job>:opened", "<job>:rejected", "<job>:rejected:2"
	tail string // what stands after the colon
	body []byte
}

// event is what kind of event the key names, empty if it names a document. A
// signer may reject a job's documents in several goes: "rejected:2".
func (p *posted) event() string {
	kind, number, again := strings.Cut(p.tail, ":")
	_, err := strconv.ParseUint(number, 10, 16)
	switch {
	case kind == "opened" && !again, kind == "rejected" && (!again || err == nil):
		return kind
	}
	return ""
}

// results takes what the agent posts (agent/PROTOCOL.md section 2).
func (s *Server) results(w http.ResponseWriter, r *http.Request) {
	p, err := s.authenticate(w, r)
	if err == nil {
		err = s.take(r, p)
	}
	var no *refusal
	switch {
	case err == nil:
		answer(w, map[string]string{"status": "ok"})
	case errors.As(err, &no):
		s.cfg.Log.Warn("result refused", "status", no.status, "reason", no.reason)
		if no.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(no.status)
		answer(w, map[string]string{"error": no.reason})
	default:
		s.broken(w, err)
	}
}

// authenticate decides whether the request comes from the agent that the job
// was given to, and whether its body arrived whole. In order: bearer, digest
// of the body, time, signature. Nothing is parsed before that.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (*posted, error) {
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return nil, err
	}
	id, tail, ok := strings.Cut(key, ":")
	if !ok || tail == "" {
		return nil, refuse(http.StatusBadRequest, "malformed Idempotency-Key")
	}
	job, err := read[signing](s.store, bucketJobs, id)
	if err != nil && !errors.Is(err, errNotFound) {
		return nil, err
	}
	// An unknown job has no digest, and nothing fits that.
	if !sameSecret(job.Bearer, bearer(r)) {
		return nil, refuse(http.StatusUnauthorized, "unknown job or bearer")
	}
	if s.cfg.Now().After(job.Expires) {
		return nil, refuse(http.StatusUnauthorized, "the bearer has expired")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxResult))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return nil, refuse(http.StatusRequestEntityTooLarge, "the result is larger than %d bytes", maxResult)
		}
		return nil, refuse(http.StatusBadRequest, "the body did not arrive whole")
	}
	if err := checkDigest(r.Header, body); err != nil {
		return nil, err
	}
	if err := checkSignature(r.Header, key, body, job.Key, s.cfg.Now()); err != nil {
		return nil, err
	}
	return &posted{job, key, tail, body}, nil
}

// idempotencyKey reads the header's structured-field string (RFC 8941 section
// 3.3.3). Our keys need no escapes, so there are none.
func idempotencyKey(h http.Header) (string, error) {
	v := h.Values("Idempotency-Key")
	if len(v) != 1 || len(v[0]) < 3 || len(v[0]) > 200 || v[0][0] != '"' || v[0][len(v[0])-1] != '"' {
		return "", refuse(http.StatusBadRequest, "malformed Idempotency-Key")
	}
	key := v[0][1 : len(v[0])-1]
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' || r == '.' }) {
		return "", refuse(http.StatusBadRequest, "malformed Idempotency-Key")
	}
	return key, nil
}

// checkDigest compares the body with Content-Digest (RFC 9530 section 2).
func checkDigest(h http.Header, body []byte) error {
	sum := sha256.Sum256(body)
	for _, part := range strings.Split(h.Get("Content-Digest"), ",") {
		v, ok := strings.CutPrefix(strings.TrimSpace(part), "sha-256=:")
		if !ok {
			continue
		}
		want, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(v, ":"))
		if err != nil || !strings.HasSuffix(v, ":") {
			return refuse(http.StatusBadRequest, "malformed Content-Digest")
		}
		if subtle.ConstantTimeCompare(want, sum[:]) != 1 {
			return refuse(http.StatusBadRequest, "Content-Digest does not match the body")
		}
		return nil
	}
	return refuse(http.StatusBadRequest, "no sha-256 in Content-Digest")
}

// checkSignature checks the webhook headers: a v1a signature (Standard
// Webhooks, ed25519) over id, time and body with the key that was pinned.
func checkSignature(h http.Header, key string, body, pinned []byte, now time.Time) error {
	if h.Get("webhook-id") != key {
		return refuse(http.StatusBadRequest, "webhook-id is not the idempotency key")
	}
	stamp := h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return refuse(http.StatusBadRequest, "malformed webhook-timestamp")
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > clockSkew || d < -clockSkew {
		return refuse(http.StatusUnauthorized, "the attempt's time is more than %s from ours", clockSkew)
	}
	if len(pinned) != ed25519.PublicKeySize {
		return refuse(http.StatusUnauthorized, "no agent is enrolled")
	}
	message := append([]byte(key+"."+stamp+"."), body...)
	for _, one := range strings.Fields(h.Get("webhook-signature")) {
		v, ok := strings.CutPrefix(one, "v1a,")
		if !ok {
			continue
		}
		sig, err := base64.StdEncoding.DecodeString(v)
		if err == nil && len(sig) == ed25519.SignatureSize && ed25519.Verify(pinned, message, sig) {
			return nil
		}
	}
	return refuse(http.StatusUnauthorized, "not signed with the key of the enrolled agent")
}

// take accepts a result that is authentic: signed, opened or rejected.
func (s *Server) take(r *http.Request, p *posted) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return refuse(http.StatusUnsupportedMediaType, "malformed Content-Type")
	}
	switch {
	case kind == "multipart/form-data":
		return s.takeSigned(r.Context(), p, params["boundary"])
	case kind == "application/json" && p.event() != "":
		return s.takeEvent(p)
	}
	return refuse(http.StatusUnsupportedMediaType, "neither a signed file nor an event")
}

// before says whether this key was taken already: with the same payload there
// is nothing left to do, with another it is refused.
func before(tx *bbolt.Tx, key, payload string) (done bool, err error) {
	t, err := get[taken](tx, bucketTaken, key)
	switch {
	case errors.Is(err, errNotFound):
		return false, nil
	case err != nil:
		return false, err
	case t.Payload != payload:
		return false, refuse(http.StatusUnprocessableEntity, "this Idempotency-Key came before with another payload")
	}
	return true, nil
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
