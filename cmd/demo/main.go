// Command demo shows Tanba at work on one computer: throw-away certificates, a
// soft token, the real tanba and tokenhost as child processes, and a small CRM
// whose contracts they sign.
//
//	go run ./cmd/demo          sets everything up and opens the CRM in the browser
//	go run ./cmd/demo --auto   plays the director in headless Chromium instead
//
// It is not part of a release.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"tanba/cmd/demo/robot"
	"tanba/cmd/demo/stage"
)

type options struct {
	Auto    bool   `help:"Play the director in headless Chromium, print the signed files, end."`
	Dir     string `help:"Folder for the demo, kept afterwards (default: a temporary one)." type:"path" placeholder:"DIR"`
	Keep    bool   `help:"Keep the temporary folder."`
	Port    int    `help:"First port tried for the CRM." default:"8700"`
	Tray    bool   `help:"Let the agent show its tray icon."`
	Browser bool   `help:"Open the CRM in the browser." default:"true" negatable:""`
	Lang    string `help:"The agent's language: kk, ru, en (default: the system's)." placeholder:"LANG"`
	Visible bool   `help:"With --auto: show the browser."`
	Verbose bool   `help:"Print the CRM's log."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("demo"), kong.Description("Tanba at work: a CRM, a soft token, and the real agent between them."))
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	dir, keep := o.Dir, true
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tanba-demo-"); err != nil {
			return err
		}
		// What --auto signs is its result; a person downloads from the CRM.
		keep = o.Keep || o.Auto
	}
	log := slog.New(slog.DiscardHandler)
	if o.Verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if o.Lang == "" {
		o.Lang = stage.LanguageOf(os.Getenv("LANG"))
	}
	defer func() {
		if !keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	fmt.Fprintln(out, "Setting the demo up in", dir)
	s, err := stage.Start(ctx, stage.Options{
		Dir: dir, Port: o.Port, CatchPrompts: o.Auto, Tray: o.Tray, Language: o.Lang, Now: time.Now, Log: log, Say: out,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if o.Auto {
		return auto(ctx, s, o, out)
	}
	return serve(ctx, s, o, out)
}

// serve lets a person play.
func serve(ctx context.Context, s *stage.Stage, o options, out io.Writer) error {
	fmt.Fprintf(out, `
  The CRM:   %s
  The PIN:   %s

  1. Log in as the director and open a deal.
  2. Press Connect, and allow the site on the page that Tanba opens. Once is enough.
  3. Press Sign. On Tanba's page choose the certificate, enter the PIN, press Sign.
  4. The signed file stands in the deal. Log in as the partner to sign it too.

  Ctrl-C ends the demo.
`, s.URL, s.PIN)
	if o.Browser {
		if err := stage.OpenBrowser(ctx, s.URL); err != nil {
			fmt.Fprintln(out, "  No browser could be opened:", err)
		}
	}
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nEnding.")
		return nil
	case <-s.Agent.Exited():
		return fmt.Errorf("the agent ended by itself; its output is in %s", s.Agent.LogPath)
	}
}

// auto plays the director: one PDF and one text file.
func auto(ctx context.Context, s *stage.Stage, o options, out io.Writer) error {
	shots, signed := filepath.Join(s.Dir, "pictures"), filepath.Join(s.Dir, "signed")
	if err := errors.Join(os.MkdirAll(shots, 0o700), os.MkdirAll(signed, 0o700)); err != nil {
		return err
	}
	r, err := robot.New(ctx, robot.Options{Dir: shots, Prompts: s.Prompts, Visible: o.Visible})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Login(s.URL, "director"); err != nil {
		return err
	}
	for _, deal := range []string{"41", "44"} {
		fmt.Fprintln(out, "· the director signs deal", deal)
		if err := r.SignDeal(deal, s.PIN, stage.DirectorName, "signed"); err != nil {
			return err
		}
		files, err := s.CRM.SignedFiles(ctx, deal, signed)
		if err != nil {
			return err
		}
		for _, f := range files {
			fmt.Fprintf(out, "  %s, signed by %s\n  %s\n", f.Verdict, f.Signer, f.Path)
		}
	}
	return nil
}
