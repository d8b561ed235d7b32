// Package gate decides who may connect to the agent's loopback listeners.
//
// A web page in any browser tab, another user of a terminal server and any
// program can reach a port on 127.0.0.1. The gate lets through: a process of
// the same user and session on this computer, that came to exactly our
// address and not to a name pointed at it (DNS rebinding), from exactly one
// origin that is https or named by policy, in bounded numbers. It decides
// before a WebSocket is upgraded, and everyone else gets the same 403.
package gate

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tanba/agent/policy"
	"tanba/agent/sites"
)

// The reasons for a refusal, for the log. The one who is refused learns none.
var (
	ErrHost        = errors.New("request is not for our address")
	ErrOrigin      = errors.New("origin is missing, doubled or malformed")
	ErrSite        = errors.New("site is blocked or not let in by policy")
	ErrPath        = errors.New("no such path")
	ErrSubprotocol = errors.New("subprotocol is missing or unknown")
	ErrRate        = errors.New("too many connections")
)

// maxOrigin bounds an origin, in bytes: a host name of 253, scheme and port.
const maxOrigin = 300

// A Guard stands before one listener. Its fields are set once.
type Guard struct {
	// Peer checks the process; SystemPeer() in the agent.
	Peer PeerChecker
	// Port is our port.
	Port int
	// Path is the only one that exists, "/v1".
	Path string
	// Subprotocol must be among those the client offers; empty: not looked at.
	Subprotocol string
	// Status says what an origin may do. Blocked and Forbidden get 403.
	Status func(origin string) sites.Status
	Limits policy.Limits
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger

	once  sync.Once
	count *counter
}

type originKey struct{}

// Origin returns the origin that the guard found in the request, empty for a
// request that did not pass a guard.
func Origin(r *http.Request) string {
	o, _ := r.Context().Value(originKey{}).(string)
	return o
}

// Wrap returns a handler that hands to next what may pass. A connection
// counts as open until next returns, so a handler of sockets returns when the
// socket has ended.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	g.once.Do(func() { g.count = newCounter(g.Limits, g.Now) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin, err := g.check(r)
		if err == nil {
			var release func()
			release, err = g.count.enter(origin, g.Status(origin) == sites.Allowed)
			if err == nil {
				defer release()
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), originKey{}, origin)))
				return
			}
		}
		if g.count.mayLog() {
			g.Log.Info("connection refused", "reason", reason(err), "origin", origin)
		}
		Refuse(w)
	})
}

// check applies every rule but the rate, in their order. The origin is returned
// as soon as it is known to be one, for the log.
func (g *Guard) check(r *http.Request) (origin string, err error) {
	if err := checkPeer(g.Peer, r); err != nil {
		return "", err
	}
	if err := checkHost(r, g.Port); err != nil {
		return "", err
	}
	o := r.Header.Values("Origin")
	if len(o) != 1 || checkOrigin(o[0]) != nil {
		return "", ErrOrigin
	}
	if st := g.Status(o[0]); st != sites.Allowed && st != sites.Unknown {
		return o[0], ErrSite
	}
	if r.Method != http.MethodGet || r.URL.Path != g.Path || r.URL.RawQuery != "" || r.ContentLength != 0 {
		return o[0], ErrPath
	}
	if g.Subprotocol != "" && !offers(r, g.Subprotocol) {
		return o[0], ErrSubprotocol
	}
	return o[0], nil
}

// PeerAndHost applies the first two rules to r with SystemPeer: the peer is a
// process of our user and session, Host is exactly ours. For the agent's own
// pages, which have no foreign origin.
func PeerAndHost(r *http.Request, port int) error {
	if err := checkPeer(SystemPeer(), r); err != nil {
		return err
	}
	return checkHost(r, port)
}

// checkHost compares Host with the three names that we have. This stops DNS
// rebinding: a page cannot set Host.
func checkHost(r *http.Request, port int) error {
	p := strconv.Itoa(port)
	if !slices.Contains([]string{"127.0.0.1:" + p, "[::1]:" + p, "localhost:" + p}, r.Host) {
		return ErrHost
	}
	return nil
}

// checkOrigin refuses what no browser sends for a page on a host: whether the
// scheme is good enough is for the sites' status to say.
func checkOrigin(o string) error {
	if len(o) > maxOrigin {
		return ErrOrigin
	}
	for i := range len(o) {
		if o[i] <= ' ' || o[i] >= 0x7f {
			return ErrOrigin
		}
	}
	if policy.CheckOrigin(o) != nil {
		return ErrOrigin
	}
	u, err := url.Parse(o)
	if err != nil || u.Hostname() == "" || strings.HasSuffix(o, ":") {
		return ErrOrigin
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != p {
			return ErrOrigin
		}
	}
	return nil
}

func offers(r *http.Request, want string) bool {
	for _, h := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(h, ",") {
			if strings.TrimSpace(p) == want {
				return true
			}
		}
	}
	return false
}

// forbidden is the body of every refusal.
const forbidden = "Forbidden\n"

// Refuse answers 403 with the constant headers and body of every refusal.
func Refuse(w http.ResponseWriter) {
	h := w.Header()
	clear(h)
	h["Date"] = nil
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	h.Set("Content-Length", strconv.Itoa(len(forbidden)))
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte(forbidden))
}

// reason is the constant word for the log.
func reason(err error) string {
	for _, e := range []error{ErrPeer, ErrHost, ErrOrigin, ErrSite, ErrPath, ErrSubprotocol, ErrRate} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "the system's table of connections cannot be read"
}
