package pages

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"tanba/agent/job"
)

// Shown is a page that was opened. Its methods may be called from several
// goroutines.
type Shown struct {
	server *Server
	page   Page

	mu       sync.Mutex
	secret   [32]byte // SHA-256 of the secret; zero when there is none to redeem
	expires  time.Time
	bearer   [32]byte // SHA-256 of the bearer; zero before the first redemption
	key      string   // with which we prove who we are, see proof
	retained map[string]retained
	seq      uint64
	changed  chan struct{} // closed and replaced at every change
	stream   uint64        // number of the stream that is live, or was last
	moved    bool          // streams up to stream belong to a tab that was replaced
	lost     *time.Timer
	reload   time.Time // when the page's HTML was last asked for again
	ended    bool      // no more calls; the last events can still be fetched
	gone     bool      // closed by the signer, or removed
	files    map[[32]byte]*offered
}

// retained is the latest value of one event.
type retained struct {
	seq  uint64
	line []byte
}

// A File is what Offer gives to the page for one download.
type File struct {
	// Name is the file's name without path and control characters.
	Name string
	// MediaType is what the bytes are. Only application/pdf is shown in the
	// browser, everything else is a download.
	MediaType string
	Size      int64
	Content   io.ReaderAt
}

type offered struct {
	file    File
	expires time.Time
}

var (
	errGone = errors.New("page is closed")
	errFull = errors.New("too many files offered")
)

func newShown(s *Server, p Page) *Shown {
	return &Shown{server: s, page: p, retained: map[string]retained{}, changed: make(chan struct{}), files: map[[32]byte]*offered{}}
}

// newSecret returns 256 random bits in base64url and their SHA-256.
func newSecret() (string, [32]byte) {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	s := base64.RawURLEncoding.EncodeToString(b)
	return s, sha256.Sum256([]byte(s))
}

// Open has the browser open the page with a new secret; a secret that was not
// redeemed is void. On a page that is open already the earlier tab ends when
// the new secret is redeemed. It returns a *job.Error with CodeNoBrowser for a
// page that was closed, and when no browser can be opened. It may take some
// seconds: the page can be in use before it returns.
func (sh *Shown) Open(ctx context.Context) error {
	origin := sh.server.origin()
	secret, sum := newSecret()
	sh.mu.Lock()
	if sh.gone || sh.ended || origin == "" {
		sh.mu.Unlock()
		return job.Fail(job.CodeNoBrowser, "", errGone)
	}
	sh.secret, sh.expires = sum, sh.server.cfg.Now().Add(SecretLife)
	if sh.lost != nil {
		sh.startLost(LostReload)
	}
	sh.mu.Unlock()
	if err := sh.server.cfg.Open(ctx, origin+"/"+sh.page.Name+"/#"+secret); err != nil {
		sh.server.cfg.Log.Warn("page could not be opened", "page", sh.page.Name, "err", err)
		return job.Fail(job.CodeNoBrowser, "", err)
	}
	sh.server.cfg.Log.Info("page opened", "page", sh.page.Name)
	return nil
}

// Reopen is Open.
func (sh *Shown) Reopen(ctx context.Context) error { return sh.Open(ctx) }

// Push sends v to the page as the event. Only the latest value of each event
// is kept, and a page that comes (back) gets the latest of all, so that an
// event must tell a state, not a change.
func (sh *Shown) Push(event string, v any) {
	line, err := json.Marshal(map[string]any{"event": event, "data": v})
	if err != nil {
		sh.server.cfg.Log.Error("page event", "event", event, "err", err)
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.ended || sh.gone {
		return
	}
	sh.seq++
	sh.retained[event] = retained{sh.seq, append(line, '\n')}
	sh.wake()
}

// wake tells the stream that something changed. sh.mu is held.
func (sh *Shown) wake() {
	close(sh.changed)
	sh.changed = make(chan struct{})
}

// End ends the page after what was pushed: it stays in the browser with its
// last words, but can do nothing more. Closed is not called.
func (sh *Shown) End() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.ended || sh.gone {
		return
	}
	sh.ended = true
	clear(sh.files)
	if sh.lost != nil {
		sh.lost.Stop()
	}
	sh.wake()
	time.AfterFunc(endedLife, sh.remove)
}

// Offer returns the path of an address at which the page can get f once,
// within a minute. f's Content is read until the page is ended or the answer
// is written; the error of a reader that was closed ends the answer.
func (sh *Shown) Offer(f File) (string, error) {
	if f.MediaType == "" || f.Name == "" {
		return "", fmt.Errorf("invalid file: no name or media type")
	}
	now := sh.server.cfg.Now()
	token, sum := newSecret()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.ended || sh.gone {
		return "", errGone
	}
	for k, o := range sh.files {
		if now.After(o.expires) {
			delete(sh.files, k)
		}
	}
	if len(sh.files) >= maxFiles {
		return "", errFull
	}
	sh.files[sum] = &offered{f, now.Add(fileLife)}
	return "/file/" + token, nil
}

// take gives up the file of a token, if it is this page's.
func (sh *Shown) take(sum [32]byte) (File, bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o, ok := sh.files[sum]
	if !ok || sh.ended || sh.gone || sh.server.cfg.Now().After(o.expires) {
		return File{}, false
	}
	delete(sh.files, sum)
	return o.file, true
}

// redeem gives a bearer, and the key of our proofs, for the secret with this
// SHA-256, once.
func (sh *Shown) redeem(sum [32]byte) (bearer, key string, ok bool) {
	sh.mu.Lock()
	if !same(sh.secret, sum) || sh.gone || sh.server.cfg.Now().After(sh.expires) {
		sh.mu.Unlock()
		return "", "", false
	}
	sh.secret = [32]byte{}
	bearer, sh.bearer = newSecret()
	key, _ = newSecret()
	sh.key = key
	sh.moved = true
	sh.wake()
	// Until its stream comes the new tab counts as lost.
	sh.startLost(LostAfter)
	sh.mu.Unlock()
	if sh.page.Opened != nil {
		sh.page.Opened()
	}
	return bearer, key, true
}

// holds reports whether the bearer with this SHA-256 is the page's.
func (sh *Shown) holds(sum [32]byte) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return !sh.gone && same(sh.bearer, sum)
}

// same compares in constant time; a zero sum is never the same.
func same(have, got [32]byte) bool {
	var zero [32]byte
	return subtle.ConstantTimeCompare(have[:], got[:]) == 1 && have != zero
}

// callable reports whether calls are answered still.
func (sh *Shown) callable() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return !sh.ended && !sh.gone
}

// startLost starts the time after which a page without stream is closed.
// sh.mu is held.
func (sh *Shown) startLost(d time.Duration) {
	if sh.lost != nil {
		sh.lost.Stop()
	}
	if sh.ended || sh.gone {
		return
	}
	sh.lost = time.AfterFunc(d, sh.closed)
}

// reloaded notes that the page's HTML was asked for: perhaps the signer
// reloaded it and needs time to reopen it. The browser drops the stream before
// or after that.
func (sh *Shown) reloaded() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.bearer == [32]byte{} || sh.secret != [32]byte{} {
		return // a tab that has still to get in
	}
	sh.reload = sh.server.cfg.Now()
	if sh.lost != nil {
		sh.startLost(LostReload)
	}
}

// closed ends a page that the signer closed.
func (sh *Shown) closed() {
	sh.mu.Lock()
	tell := !sh.gone && !sh.ended
	sh.gone = true
	if sh.lost != nil {
		sh.lost.Stop()
	}
	clear(sh.files)
	sh.wake()
	sh.mu.Unlock()
	sh.server.forget(sh)
	if tell {
		sh.server.cfg.Log.Info("page closed by the signer", "page", sh.page.Name)
		if sh.page.Closed != nil {
			sh.page.Closed()
		}
	}
}

// remove forgets a page without calling Closed.
func (sh *Shown) remove() {
	sh.mu.Lock()
	sh.gone = true
	if sh.lost != nil {
		sh.lost.Stop()
	}
	clear(sh.files)
	sh.wake()
	sh.mu.Unlock()
	sh.server.forget(sh)
}

// join makes a new stream the live one and returns its number; the one before
// it ends.
func (sh *Shown) join() uint64 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.stream++
	sh.moved = false
	if sh.lost != nil {
		sh.lost.Stop()
		sh.lost = nil
	}
	sh.wake()
	return sh.stream
}

// leave tells that the stream with this number ended.
func (sh *Shown) leave(n uint64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n != sh.stream || sh.moved {
		return
	}
	d := LostAfter
	if sh.server.cfg.Now().Sub(sh.reload) < LostAfter {
		d = LostReload
	}
	sh.startLost(d)
}

// next returns the lines after seq for stream n, the last word if it has to
// end ("end", "moved"), and what to wait for otherwise.
func (sh *Shown) next(n, seq uint64) (lines []byte, last uint64, word string, wait <-chan struct{}) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	last = seq
	if n != sh.stream || sh.moved {
		return nil, seq, "moved", nil
	}
	var list []retained
	for _, r := range sh.retained {
		if r.seq > seq {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b retained) int { return cmp.Compare(a.seq, b.seq) })
	for _, r := range list {
		lines = append(lines, r.line...)
		last = r.seq
	}
	if sh.ended || sh.gone {
		word = "end"
	}
	return lines, last, word, sh.changed
}
