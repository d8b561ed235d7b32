package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tanba/agent/delivery"
	"tanba/agent/desk"
	"tanba/agent/sites"
	"tanba/agent/tray"
	"tanba/tokens/keyring"
)

// touch has the tray look again.
func (a *agent) touch() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// showTray shows the icon until ctx ends.
func (a *agent) showTray(ctx context.Context) error {
	updates := make(chan tray.Status)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-a.changed:
			}
			select {
			case <-ctx.Done():
				return
			case updates <- a.status():
			}
		}
	}()
	return tray.Run(ctx, updates, a.status(), func(action tray.Action) { go a.choose(ctx, action) })
}

func (a *agent) status() tray.Status {
	c := a.outbox.Counts()
	return tray.Status{
		Waiting: a.approver.Waiting(), Signing: a.signingNow(), Delivering: c.Delivering, Attention: c.Parked + c.Dead, Lang: a.lang,
	}
}

func (a *agent) signingNow() int {
	n := 0
	a.signing.Range(func(any, any) bool { n++; return true })
	return n
}

// choose does what an item of the tray's menu says.
func (a *agent) choose(ctx context.Context, action tray.Action) {
	var err error
	switch action {
	case tray.OpenPrompt:
		err = a.approver.Reopen(ctx)
	case tray.ShowTokens:
		err = a.desk.Show(ctx, desk.Tokens)
	case tray.ShowOutbox:
		err = a.desk.Show(ctx, desk.Outbox)
	case tray.About:
		err = a.desk.Show(ctx, desk.About)
	case tray.Quit:
		a.quit()
	}
	if err != nil {
		a.log.Warn("menu item failed", "item", string(action), "err", err)
	}
}

// control answers the command line and a second start.
func (a *agent) control(ctx context.Context, cmd string, args json.RawMessage) (any, error) {
	var in struct {
		ID     string `json:"id"`
		Path   string `json:"path"`
		Origin string `json:"origin"`
	}
	if len(args) > 0 {
		if err := json.Unmarshal(args, &in); err != nil {
			return nil, errors.New("malformed arguments")
		}
	}
	switch cmd {
	case "status":
		return a.statusReport(), nil
	case "show":
		if a.approver.Waiting() == 0 {
			return nil, a.desk.Show(ctx, desk.Tokens)
		}
		return nil, a.approver.Reopen(ctx)
	case "open":
		return nil, a.approver.Reopen(ctx)
	case "tokens":
		return nil, a.desk.Show(ctx, desk.Tokens)
	case "outbox.list":
		return a.outbox.List(ctx), nil
	case "outbox.retry":
		return nil, a.outbox.Retry(ctx, in.ID)
	case "outbox.drop":
		return nil, a.outbox.Drop(ctx, in.ID)
	case "outbox.save":
		path, err := a.outbox.Save(ctx, in.ID, in.Path)
		return map[string]string{"path": path}, err
	case "sites.list":
		return a.sites.List(), nil
	case "sites.allow":
		return nil, a.sites.Allow(in.Origin, a.now())
	case "sites.revoke":
		return nil, a.sites.Revoke(in.Origin)
	case "quit":
		a.quit()
		return nil, nil
	}
	return nil, fmt.Errorf("unknown command %q", cmd)
}

// A statusReport is what "status" answers; doctor prints it.
type statusReport struct {
	Version   string          `json:"version"`
	Port      int             `json:"port"`
	Waiting   int             `json:"waiting"`
	Tokens    int             `json:"tokens"`
	Outbox    delivery.Counts `json:"outbox"`
	Libraries []string        `json:"libraries"`
	Problems  []string        `json:"problems"`
}

func (a *agent) statusReport() statusReport {
	r := statusReport{
		Version: Version, Port: a.listeners.Port, Waiting: a.approver.Waiting(), Tokens: int(a.present.Load()),
		Outbox: a.outbox.Counts(), Libraries: a.libraries, Problems: messages(append(a.ring.Problems(), a.problems...)),
	}
	if a.listeners.NoIPv6 != nil {
		r.Problems = append(r.Problems, "not listening on IPv6: "+a.listeners.NoIPv6.Error())
	}
	return r
}

// about is what the signer's page says of this installation.
func (a *agent) about() []desk.Fact {
	var allowed []string
	for _, s := range a.sites.List() {
		if s.Status == sites.Allowed {
			allowed = append(allowed, s.Origin)
		}
	}
	var set []string
	for k, layer := range a.policy.Sources {
		set = append(set, k+" ("+layer+")")
	}
	return []desk.Fact{
		{Key: "desk.version", Value: Version},
		{Key: "desk.port", Value: strconv.Itoa(a.listeners.Port)},
		{Key: "desk.sites", Value: orDash(allowed)},
		{Key: "desk.settings", Value: orDash(set)},
		{Key: "desk.data", Value: a.folders.data},
		{Key: "desk.log", Value: a.folders.state},
		{Key: "desk.licence", Value: "Apache-2.0"},
	}
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "—"
	}
	return strings.Join(list, ", ")
}

// drivers lists the libraries with what is wrong with them.
func (a *agent) drivers() []desk.Driver {
	out := []desk.Driver{}
	problems := a.ring.Problems()
	for _, l := range a.libraries {
		d := desk.Driver{Path: l}
		for _, err := range problems {
			if p, ok := errors.AsType[*keyring.Problem](err); ok && p.Driver == filepath.Base(l) {
				d.Problem = p.Err.Error()
			}
		}
		out = append(out, d)
	}
	return out
}

// deskOutbox is the outbox as the signer's page sees it.
type deskOutbox struct{ *delivery.Outbox }

// Items implements desk.OutboxKeeper.
func (o deskOutbox) Items(ctx context.Context) []desk.Item {
	out := []desk.Item{}
	for _, i := range o.List(ctx) {
		if i.Kind == delivery.KindOpened {
			continue
		}
		out = append(out, desk.Item{
			ID: i.ID, Origin: i.Origin, Name: i.Name, State: i.State, Code: i.Code, Created: i.Created, Next: i.Next,
			CanSave: i.Kind == delivery.KindSigned, Rejected: i.Kind == delivery.KindRejected,
		})
	}
	return out
}

// Save implements desk.OutboxKeeper: into the signer's downloads, or the home
// folder where there are none; a name that is taken gets the time before it.
func (o deskOutbox) Save(ctx context.Context, id string) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(home, "Downloads")
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		dir = home
	}
	path, err := o.Outbox.Save(ctx, id, dir)
	if !errors.Is(err, fs.ErrExist) {
		return path, err
	}
	dir = filepath.Join(dir, "Tanba "+time.Now().Format("2006-01-02 150405"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return o.Outbox.Save(ctx, id, dir)
}
