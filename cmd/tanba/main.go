// Command tanba is the signing agent on a signer's computer, and its command
// line. Everything is wired here; what it does is done in the agent's
// packages.
//
// Exit status: 0 done, 1 refused or not valid with the reason on stderr in
// one line, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// Version is this program's version; the installers read it from here.
const Version = "0.1.0"

func main() {
	hardenProcess()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(exitStatus(os.Stderr, run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
}

// A usageError is a wrong command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// errSilent ends with status 1; what is wrong was printed already.
var errSilent = errors.New("not valid")

func exitStatus(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintln(w, "tanba:", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	return 1
}

// An env is what every command works with.
type env struct {
	in       io.Reader
	out, err io.Writer
	config   string
	now      func() time.Time
}

type commands struct {
	Config string `help:"Settings file instead of the user's own." placeholder:"FILE" type:"path"`

	Run     runCmd     `cmd:"" default:"withargs" help:"Run the agent (with an icon in the tray when there is a desktop)."`
	Tokens  tokensCmd  `cmd:"" help:"List tokens and certificates."`
	Sign    signCmd    `cmd:"" help:"Sign files."`
	Verify  verifyCmd  `cmd:"" help:"Verify signed files."`
	Doctor  doctorCmd  `cmd:"" help:"Say what is wrong with this computer."`
	Outbox  outboxCmd  `cmd:"" help:"Results on their way to a CRM."`
	Sites   sitesCmd   `cmd:"" help:"Sites that may ask for signatures."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// run parses args and runs the command they name.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) error {
	var c commands
	ended := false
	p, err := kong.New(&c, kong.Name("tanba"), kong.Description("The signing agent on a signer's computer."),
		kong.Writers(out, errOut), kong.Exit(func(int) { ended = true }), kong.UsageOnError())
	if err != nil {
		return err
	}
	kctx, err := p.Parse(args)
	if ended { // --help
		return nil
	}
	if err != nil {
		return &usageError{err}
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	return kctx.Run(&env{in: in, out: out, err: errOut, config: c.Config, now: time.Now})
}

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.out, "tanba", Version)
	return err
}
