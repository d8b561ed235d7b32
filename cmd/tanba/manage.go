package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"text/tabwriter"
	"time"

	"tanba/agent/control"
	"tanba/agent/delivery"
	"tanba/agent/job"
	"tanba/agent/sites"
)

// ask has the running agent do cmd.
func ask(ctx context.Context, cmd string, args, result any) error {
	return control.Call(ctx, control.DefaultPath(), cmd, args, result)
}

// needAgent words the answer of nobody.
func needAgent(err error) error {
	if errors.Is(err, control.ErrNoAgent) {
		return errors.New("the agent is not running: start tanba first")
	}
	return err
}

type outboxCmd struct {
	List  outboxListCmd  `cmd:"" help:"List what the CRMs do not have yet."`
	Retry outboxRetryCmd `cmd:"" help:"Send an item now."`
	Save  outboxSaveCmd  `cmd:"" help:"Save an item's signed file."`
	Drop  outboxDropCmd  `cmd:"" help:"Give an item up and delete its signed file."`
}

type outboxListCmd struct {
	JSON bool `help:"Print one JSON object."`
}

// Run asks the running agent; when none runs, the files themselves are read.
func (c *outboxListCmd) Run(ctx context.Context, e *env) error {
	var items []delivery.Item
	err := ask(ctx, "outbox.list", nil, &items)
	if errors.Is(err, control.ErrNoAgent) {
		items, err = c.read(ctx, e)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, map[string]any{"items": items})
	}
	tw := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	for _, i := range items {
		next := ""
		if i.State == job.Delivering {
			next = "next " + i.Next.Local().Format(time.DateTime)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Kind, i.Name, i.Origin, i.State, i.Code, next)
	}
	return tw.Flush()
}

func (c *outboxListCmd) read(ctx context.Context, e *env) ([]delivery.Item, error) {
	p, f, err := e.settings()
	if err != nil {
		return nil, err
	}
	a := &agent{policy: p, folders: f, log: slog.New(slog.DiscardHandler), now: e.now}
	o, err := delivery.Open(a.deliveryConfig())
	if err != nil {
		return nil, err
	}
	return o.List(ctx), o.Close()
}

type outboxRetryCmd struct {
	ID string `arg:"" help:"The item's number in the list."`
}

func (c *outboxRetryCmd) Run(ctx context.Context) error {
	return needAgent(ask(ctx, "outbox.retry", map[string]string{"id": c.ID}, nil))
}

type outboxDropCmd struct {
	ID string `arg:"" help:"The item's number in the list."`
}

func (c *outboxDropCmd) Run(ctx context.Context) error {
	return needAgent(ask(ctx, "outbox.drop", map[string]string{"id": c.ID}, nil))
}

type outboxSaveCmd struct {
	ID  string `arg:"" help:"The item's number in the list."`
	Out string `arg:"" help:"Where to: a file or a folder." type:"path"`
}

func (c *outboxSaveCmd) Run(ctx context.Context, e *env) error {
	var saved struct {
		Path string `json:"path"`
	}
	if err := needAgent(ask(ctx, "outbox.save", map[string]string{"id": c.ID, "path": c.Out}, &saved)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.out, saved.Path)
	return err
}

type sitesCmd struct {
	List   sitesListCmd   `cmd:"" help:"List the sites."`
	Allow  sitesAllowCmd  `cmd:"" help:"Allow a site."`
	Revoke sitesRevokeCmd `cmd:"" help:"Take a site's permission back."`
}

type sitesListCmd struct {
	JSON bool `help:"Print one JSON object."`
}

func (c *sitesListCmd) Run(ctx context.Context, e *env) error {
	var list []sites.Site
	err := ask(ctx, "sites.list", nil, &list)
	if errors.Is(err, control.ErrNoAgent) {
		var s *sites.Store
		if s, err = e.openSites(); err == nil {
			list = s.List()
		}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, map[string]any{"sites": list})
	}
	tw := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	for _, s := range list {
		by := "the signer"
		if s.ByPolicy {
			by = "policy"
		}
		fmt.Fprintf(tw, "%s\t%s\tby %s\n", s.Origin, s.Status, by)
	}
	return tw.Flush()
}

func (e *env) openSites() (*sites.Store, error) {
	p, f, err := e.settings()
	if err != nil {
		return nil, err
	}
	if err := f.make(); err != nil {
		return nil, err
	}
	return sites.Open(filepath.Join(f.config, "sites.json"), p, filepath.Join(f.config, "sites.key"))
}

type sitesAllowCmd struct {
	Origin string `arg:"" help:"The exact origin: https://crm.example.kz"`
}

func (c *sitesAllowCmd) Run(ctx context.Context, e *env) error {
	err := ask(ctx, "sites.allow", map[string]string{"origin": c.Origin}, nil)
	if !errors.Is(err, control.ErrNoAgent) {
		return err
	}
	s, err := e.openSites()
	if err != nil {
		return err
	}
	return s.Allow(c.Origin, e.now())
}

type sitesRevokeCmd struct {
	Origin string `arg:"" help:"The exact origin: https://crm.example.kz"`
}

func (c *sitesRevokeCmd) Run(ctx context.Context, e *env) error {
	err := ask(ctx, "sites.revoke", map[string]string{"origin": c.Origin}, nil)
	if !errors.Is(err, control.ErrNoAgent) {
		return err
	}
	s, err := e.openSites()
	if err != nil {
		return err
	}
	return s.Revoke(c.Origin)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
