// Package desk is the signer's own page, opened from the tray: the tokens
// that are present with their certificates, what waits to be sent, and what
// this installation is. It can send again, save and drop, change a token's PIN
// and unlock it with the PUK; it cannot approve.
package desk

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"tanba/agent/job"
	"tanba/agent/pages"
	"tanba/agent/text"
)

//go:embed assets
var assets embed.FS

// A Tab is a part of the page.
type Tab string

// The tabs.
const (
	Tokens Tab = "tokens"
	Outbox Tab = "outbox"
	About  Tab = "about"
)

// An OutboxKeeper is what waits to be sent.
type OutboxKeeper interface {
	// Items returns what the CRMs do not have yet, oldest first.
	Items(ctx context.Context) []Item
	Retry(ctx context.Context, id string) error
	Drop(ctx context.Context, id string) error
	// Save puts the signed file where the signer finds it, and returns where.
	Save(ctx context.Context, id string) (path string, err error)
	// Changes is job.Tokens.Changes for the outbox.
	Changes() (<-chan struct{}, func())
}

// An Item is one result on its way.
type Item struct {
	ID       string    `json:"id"`
	Origin   string    `json:"origin"`
	Name     string    `json:"name"`
	State    job.State `json:"state"`
	Code     job.Code  `json:"code"`
	Created  time.Time `json:"created"`
	Next     time.Time `json:"next,omitzero"`
	CanSave  bool      `json:"canSave"`
	Rejected bool      `json:"rejected"`
}

// A Driver is a library that was asked for tokens.
type Driver struct {
	Path string `json:"path"`
	// Problem is why it did not answer, empty if it did.
	Problem string `json:"problem"`
}

// A Fact is a line of About; Key is a text key.
type Fact struct {
	Key   text.Key `json:"key"`
	Value string   `json:"value"`
}

// Config is what a Desk needs.
type Config struct {
	Pages   *pages.Server
	Lang    func() text.Lang
	Tokens  job.Tokens
	Drivers func() []Driver
	Outbox  OutboxKeeper
	// PINs sets the PINs of tokens; nil: nothing does.
	PINs PINSetter
	// PINEntry is policy.PINEntry: a PIN is typed here only if it is empty or
	// "page".
	PINEntry string
	About    func() []Fact
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

// A Desk shows the page, one at a time.
type Desk struct {
	cfg Config

	mu    sync.Mutex
	shown *pages.Shown
	tab   Tab
	stop  func()
	there bool // a tab got in
	pin   pinForm
}

// New returns a Desk that shows nothing yet.
func New(cfg Config) *Desk { return &Desk{cfg: cfg} }

// Show opens the page at tab, or brings it to a new tab of the browser.
func (d *Desk) Show(ctx context.Context, tab Tab) error {
	sh, made, err := d.page(ctx, tab)
	if err != nil {
		return err
	}
	// Not under the lock: the page may be in use before the opener returns.
	if err := sh.Open(ctx); err != nil {
		if made {
			d.leave(sh)
		}
		return err
	}
	return nil
}

// page returns the page that is shown, or makes it.
func (d *Desk) page(ctx context.Context, tab Tab) (sh *pages.Shown, made bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tab = tab
	if d.shown != nil {
		return d.shown, false, nil
	}
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		return nil, false, err
	}
	sh, err = d.cfg.Pages.Add(ctx, pages.Page{Name: "desk", Assets: files, Handle: d.handle, Raw: d.raw, MaxRaw: maxSecrets, Opened: d.opened, Closed: d.closed})
	if err != nil {
		return nil, false, err
	}
	feeding, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.shown, d.stop, d.there = sh, stop, false
	go d.feed(feeding, sh)
	// The listener lives while a page does: one that never came is not waited for.
	time.AfterFunc(pages.SecretLife, func() {
		d.mu.Lock()
		lost := d.shown == sh && !d.there
		d.mu.Unlock()
		if lost {
			d.leave(sh)
		}
	})
	return sh, true, nil
}

// leave gives a page up that nobody sees.
func (d *Desk) leave(sh *pages.Shown) {
	d.mu.Lock()
	mine := d.shown == sh
	d.mu.Unlock()
	if mine {
		d.closed()
		sh.End()
	}
}

func (d *Desk) closed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.stop()
	}
	d.shown, d.stop = nil, nil
	d.pin.focused, d.pin.pending = time.Time{}, nil
}

// feed keeps the page up to date until ctx ends.
func (d *Desk) feed(ctx context.Context, sh *pages.Shown) {
	came, stopTokens := d.cfg.Tokens.Changes()
	defer stopTokens()
	moved, stopOutbox := d.cfg.Outbox.Changes()
	defer stopOutbox()
	d.pushTokens(ctx, sh)
	sh.Push("outbox", d.cfg.Outbox.Items(ctx))
	for {
		select {
		case <-ctx.Done():
			return
		case <-came:
			d.pushTokens(ctx, sh)
		case <-moved:
			sh.Push("outbox", d.cfg.Outbox.Items(ctx))
		}
	}
}

// view is what the page gets to begin with.
type view struct {
	Words map[text.Lang]map[text.Key]string `json:"words"`
	Lang  text.Lang                         `json:"lang"`
	Tab   Tab                               `json:"tab"`
	About []Fact                            `json:"about"`
}

// handle answers the page's calls.
func (d *Desk) handle(ctx context.Context, method string, body json.RawMessage) (any, error) {
	switch method {
	case "load":
		d.mu.Lock()
		defer d.mu.Unlock()
		return view{Words: words(), Lang: d.cfg.Lang(), Tab: d.tab, About: d.cfg.About()}, nil
	case "focus":
		return struct{}{}, d.focus(body)
	case "pin":
		return struct{}{}, d.askPIN(ctx, body)
	case "retry", "drop", "save":
		var in struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(body, &in); err != nil || in.ID == "" {
			return nil, pages.Refusal("invalid")
		}
		return d.act(ctx, method, in.ID)
	}
	return nil, pages.Refusal("unknown")
}

func (d *Desk) act(ctx context.Context, method, id string) (any, error) {
	var err error
	out := struct {
		Path string `json:"path"`
	}{}
	switch method {
	case "retry":
		err = d.cfg.Outbox.Retry(ctx, id)
	case "drop":
		err = d.cfg.Outbox.Drop(ctx, id)
	case "save":
		out.Path, err = d.cfg.Outbox.Save(ctx, id)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of an outbox item: %w", method, err)
	}
	return out, nil
}

func words() map[text.Lang]map[text.Key]string {
	all := map[text.Lang]map[text.Key]string{}
	for _, l := range text.Langs {
		all[l] = map[text.Key]string{}
		for _, prefix := range []string{"desk.", "page.", "prompt.", "trouble."} {
			for k, s := range text.Table(l, prefix) {
				all[l][k] = s
			}
		}
	}
	return all
}

// shownToken is a token as the page gets it.
type shownToken struct {
	ID         string          `json:"id"`
	Label      string          `json:"label"`
	Model      string          `json:"model"`
	Serial     string          `json:"serial"` // last four characters
	Library    string          `json:"library"`
	PIN        string          `json:"pin"`
	PUK        string          `json:"puk"`
	Factory    bool            `json:"factory"` // its PIN is known to be a factory one
	MinPIN     int             `json:"minPin"`  // bytes, 0: not known
	MaxPIN     int             `json:"maxPin"`
	CanSet     bool            `json:"canSet"` // its PIN, here
	Identities []shownIdentity `json:"identities"`
}

type shownIdentity struct {
	Name         string    `json:"name"`
	Organization string    `json:"organization"`
	Role         string    `json:"role"`
	Title        string    `json:"title"`
	IIN          string    `json:"iin"`
	BIN          string    `json:"bin"`
	Issuer       string    `json:"issuer"`
	NotAfter     time.Time `json:"notAfter"`
	DaysLeft     int       `json:"daysLeft"`
	Problem      string    `json:"problem"`
}

type shownTokens struct {
	Tokens  []shownToken `json:"tokens"`
	Drivers []Driver     `json:"drivers"`
}

func (d *Desk) pushTokens(ctx context.Context, sh *pages.Shown) {
	list, err := d.cfg.Tokens.List(ctx)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			d.cfg.Log.Warn("tokens not listed", "err", err)
		}
		return
	}
	now := d.cfg.Now()
	out := shownTokens{Tokens: []shownToken{}, Drivers: d.cfg.Drivers()}
	for _, t := range list {
		s := shownToken{
			ID: t.ID, Label: t.Label, Model: t.Model, Serial: tail(t.Serial, 4), Library: filepath.Base(t.Library), PIN: string(t.PIN),
			PUK: string(t.PUK), Factory: t.FactoryPIN, MinPIN: t.MinPIN, MaxPIN: t.MaxPIN, CanSet: d.mayType(&t),
			Identities: []shownIdentity{},
		}
		for _, i := range t.Identities {
			c, p := i.Certificate, i.Certificate.Profile
			problem := string(c.ProblemAt(now))
			if problem == "" && len(i.Algorithms) == 0 {
				problem = string(job.Unusable)
			}
			s.Identities = append(s.Identities, shownIdentity{
				Name: p.Name, Organization: p.Organization, Role: p.Role, Title: p.Title, IIN: p.IIN, BIN: p.BIN,
				Issuer: c.X509.Issuer.CommonName, NotAfter: c.X509.NotAfter.UTC(),
				DaysLeft: int(c.X509.NotAfter.Sub(now).Hours() / 24), Problem: problem,
			})
		}
		out.Tokens = append(out.Tokens, s)
	}
	sh.Push("tokens", out)
}

func tail(s string, n int) string {
	r := []rune(s)
	return string(r[max(0, len(r)-n):])
}
