package approve

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tanba/agent/job"
	"tanba/agent/pages"
	"tanba/tokens"
)

// maxText bounds the signer's own words of a rejection, in characters.
const maxText = 500

// The words with which a call is refused.
const (
	refusedInvalid  = pages.Refusal("invalid")
	refusedNotArmed = pages.Refusal("not_armed") // too early, or not before the signer
	refusedMismatch = pages.Refusal("mismatch")  // not the documents of this job
	refusedIdentity = pages.Refusal("identity")  // gone, or may not sign this job
	refusedLocked   = pages.Refusal("locked")
	refusedFinalTry = pages.Refusal("final_try") // needs the signer's tick
	refusedNoAsk    = pages.Refusal("not_approved")
	refusedNoCopy   = pages.Refusal("no_copy")
)

// do answers one call. A non-nil answer is the signer's.
func (p *prompt) do(ctx context.Context, c call) (any, *job.Answer, error) {
	done := map[string]bool{"ok": true}
	switch c.method {
	case "focus":
		return done, nil, p.focus(c.body)
	case "approve":
		return done, nil, p.agree(c.body)
	case "pin":
		return p.unlock(ctx, tokens.NewPIN(c.body), false)
	case "pad":
		return p.unlock(ctx, tokens.PIN{}, true)
	case "reject":
		a, err := p.reject(c.body)
		return done, a, err
	case "later":
		return done, &job.Answer{Later: true}, nil
	case "extend":
		p.until = p.a.cfg.Now().Add(p.limit())
		p.timer.Reset(p.limit())
		p.refresh()
		return done, nil, nil
	case "copy":
		v, err := p.copy(c.body)
		return v, nil, err
	}
	return nil, nil, refusedInvalid
}

// focus notes that the page came before the signer, or went.
func (p *prompt) focus(body []byte) error {
	var in struct {
		On bool `json:"on"`
	}
	if pages.Decode(body, &in) != nil {
		return refusedInvalid
	}
	p.focused, p.pending, p.tab = time.Time{}, nil, p.tabs.Load()
	if in.On {
		p.focused = p.a.cfg.Now()
	}
	return nil
}

// agree notes the approval of what was shown; the PIN must follow.
func (p *prompt) agree(body []byte) error {
	var in struct {
		Documents []struct {
			ID     string `json:"id"`
			SHA256 string `json:"sha256"`
		} `json:"documents"`
		Identity string `json:"identity"`
		FinalTry bool   `json:"finalTry"`
	}
	p.pending = nil
	if pages.Decode(body, &in) != nil || len(in.Documents) == 0 {
		return refusedInvalid
	}
	now := p.a.cfg.Now()
	if p.focused.IsZero() || now.Sub(p.focused) < armAfter || p.tab != p.tabs.Load() {
		return refusedNotArmed
	}
	left := map[string]*job.PreparedDocument{}
	for _, d := range p.q.Prepared().Documents {
		left[d.ID] = d
	}
	seen := make([]job.Seen, 0, len(in.Documents))
	for _, s := range in.Documents {
		d := left[s.ID]
		if d == nil || s.SHA256 != hex.EncodeToString(d.SHA256[:]) {
			return refusedMismatch
		}
		delete(left, s.ID)
		seen = append(seen, job.Seen{Document: d.ID, SHA256: d.SHA256})
	}
	t, id, ok := p.identity(in.Identity)
	if !ok || p.fit(t, id) != "" {
		return refusedIdentity
	}
	switch p.pinState(t) {
	case tokens.PINLocked:
		return refusedLocked
	case tokens.PINFinalTry:
		if !in.FinalTry {
			return refusedFinalTry
		}
	}
	p.pending = &pending{identity: id.ID, token: t.ID, pad: t.ProtectedPath, seen: seen, until: now.Add(pinWithin), tab: p.tab}
	return nil
}

func (p *prompt) identity(id string) (tokens.Token, tokens.Identity, bool) {
	for _, t := range p.list {
		for _, i := range t.Identities {
			if i.ID == id {
				return t, i, true
			}
		}
	}
	return tokens.Token{}, tokens.Identity{}, false
}

// pinElsewhere is a misfit of ours: the PIN may not be typed in the page.
const pinElsewhere = job.Misfit("pin_elsewhere")

// fit says why an identity cannot be chosen here, empty if it can.
func (p *prompt) fit(t tokens.Token, id tokens.Identity) job.Misfit {
	if m := p.q.Fit(id); m != "" {
		return m
	}
	if e := p.a.cfg.PINEntry; e != "" && e != "page" && !t.ProtectedPath {
		return pinElsewhere
	}
	return ""
}

func (p *prompt) pinState(t tokens.Token) tokens.PINState {
	if s, ok := p.pins[t.ID]; ok {
		return s
	}
	return t.PIN
}

// unlock offers the PIN of an approval to its token, once. The approval is
// used up by that.
func (p *prompt) unlock(ctx context.Context, pin tokens.PIN, pad bool) (any, *job.Answer, error) {
	defer pin.Wipe()
	ask := p.pending
	p.pending = nil
	if ask == nil || ask.pad != pad || ask.tab != p.tabs.Load() || p.a.cfg.Now().After(ask.until) {
		return nil, nil, refusedNoAsk
	}
	p.change(func(s *stateView) { s.Phase, s.Problem = "unlocking", "" })
	p.tried++
	err := p.q.Unlock(ctx, ask.identity, pin)
	if err == nil {
		return map[string]bool{"unlocked": true}, &job.Answer{Approved: ask.seen}, nil
	}
	problem, tries := "token_failed", -1
	if e, ok := errors.AsType[*tokens.PINError](err); ok {
		problem, tries = "pin_"+string(e.Reason), e.TriesLeft
		if e.State != "" {
			p.pins[ask.token] = e.State
		}
	} else if errors.Is(err, tokens.ErrNotPresent) || errors.Is(err, tokens.ErrRemoved) {
		problem = "token_removed"
	} else if errors.Is(err, tokens.ErrBusy) {
		problem = "token_busy"
	} else if errors.Is(err, tokens.ErrCancelled) {
		problem = "pad_cancelled"
	} else if errors.Is(err, job.ErrUnfit) {
		problem = "unfit"
	}
	p.a.cfg.Log.Warn("token not unlocked", "problem", problem, "err", err)
	p.change(func(s *stateView) { s.Phase, s.Problem, s.Tries = "ask", problem, tries; s.Attempt++ })
	p.refresh()
	return map[string]bool{"unlocked": false}, nil, nil
}

// reject checks the signer's rejection.
func (p *prompt) reject(body []byte) (*job.Answer, error) {
	var in struct {
		Documents []string   `json:"documents"`
		Reason    job.Reason `json:"reason"`
		Text      string     `json:"text"`
	}
	if pages.Decode(body, &in) != nil || len(in.Documents) == 0 || !slices.Contains(job.Reasons, in.Reason) ||
		!utf8.ValidString(in.Text) || utf8.RuneCountInString(in.Text) > maxText {
		return nil, refusedInvalid
	}
	known := map[string]bool{}
	for _, d := range p.q.Prepared().Documents {
		known[d.ID] = true
	}
	for _, id := range in.Documents {
		if !known[id] {
			return nil, refusedMismatch
		}
		delete(known, id)
	}
	return &job.Answer{Rejected: in.Documents, Reason: in.Reason, Text: strings.TrimSpace(in.Text)}, nil
}

// copy offers the private copy of a document to the page, once.
func (p *prompt) copy(body []byte) (any, error) {
	var in struct {
		Document string `json:"document"`
	}
	if pages.Decode(body, &in) != nil {
		return nil, refusedInvalid
	}
	for _, d := range p.q.Prepared().Documents {
		if d.ID != in.Document {
			continue
		}
		path, err := p.shown.Offer(pages.File{Name: safeName(d.Name), MediaType: d.MediaType, Size: d.Size, Content: d.Content})
		if err != nil {
			return nil, refusedNoCopy
		}
		return map[string]string{"path": path}, nil
	}
	return nil, refusedMismatch
}

// safeName makes a file name that no system takes for a path.
func safeName(name string) string {
	name = strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, clean(name)), " .")
	if name == "" {
		return "document"
	}
	return name
}

// targetHost returns the host that gets the result.
func targetHost(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Host
}
