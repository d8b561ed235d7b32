// Package stage sets the demo up: certificates, soft tokens, the real tanba
// and tokenhost as child processes, and the CRM. The demo's command and the
// end-to-end tests stand on it.
package stage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"tanba/agent/native/js"
	"tanba/cmd/demo/crm"
	"tanba/crypto/cert"
	"tanba/testcerts"
)

// Options say what to set up. The zero value with Dir, Now and Log is a
// demo for a person.
type Options struct {
	// Dir is the demo's folder, made if absent. It must be an absolute path.
	Dir string
	// Binaries is a folder with tanba and tokenhost; they are built into
	// Dir/bin if it is empty.
	Binaries string
	// Port is the first that is tried for the CRM, 8700 if zero.
	Port int
	// FirstPort and LastPort are the agent's; 17650 and 17659 if zero.
	FirstPort, LastPort int
	// CatchPrompts takes the addresses of the agent's pages into Stage.Prompts
	// instead of opening them in the person's browser.
	CatchPrompts bool
	// Tray lets the agent show its tray icon.
	Tray bool
	// Language is the agent's, "kk", "ru" or "en"; empty: the system's.
	Language string
	// Config holds further lines for the agent's settings (TOML).
	Config string
	// Env is added to the agent's environment.
	Env []string
	// Bearers and FrameAncestors are the CRM's.
	Bearers        time.Duration
	FrameAncestors []string
	// Wrap, if set, stands before the CRM.
	Wrap func(http.Handler) http.Handler
	// TLS serves the CRM over https as https://localhost:PORT, with a
	// certificate of the demo's PKI that the agent is told to trust.
	TLS bool
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
	// Say gets one line for each step; nil for silence.
	Say io.Writer
}

// A Stage is a running demo.
type Stage struct {
	// Dir is the demo's folder, URL the CRM's address, PIN and PUK those of every
	// token.
	Dir, URL, PIN, PUK string
	CRM                *crm.Server
	Agent              *Agent
	PKI                *testcerts.PKI
	Tokens             *Tokens
	// Prompts is set with Options.CatchPrompts.
	Prompts *Prompts
	// People are those who can log in to the CRM.
	People []crm.Person

	opts   Options
	served chan error
	stop   context.CancelFunc
}

// Where things stand below Dir.
const (
	binDir     = "bin"
	openersDir = "openers"
	tokenDir   = "tokens"
	crmDir     = "crm"
	pkiDir     = "pki" // root.pem and ca.pem, for those who check signatures with other programs
	configFile = "tanba.toml"
	promptFile = "prompts"
)

// Start sets everything up and returns when the CRM and the agent answer. What
// was started is stopped again when it fails.
func Start(ctx context.Context, opts Options) (*Stage, error) {
	if !filepath.IsAbs(opts.Dir) {
		return nil, fmt.Errorf("invalid demo folder %q: want an absolute path", opts.Dir)
	}
	if opts.FirstPort == 0 {
		opts.FirstPort, opts.LastPort = 17650, 17659
	}
	if opts.Port == 0 {
		opts.Port = 8700
	}
	if opts.Say == nil {
		opts.Say = io.Discard
	}
	s := &Stage{Dir: opts.Dir, PIN: demoPIN, PUK: demoPUK, opts: opts}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stage) start(ctx context.Context) error {
	for _, d := range []string{binDir, openersDir, tokenDir, crmDir, pkiDir, "home", "config", "data", "state", "cache", "run"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, d), 0o700); err != nil {
			return err
		}
	}
	bin := s.opts.Binaries
	if bin == "" {
		bin = filepath.Join(s.Dir, binDir)
		s.say("building tanba and tokenhost")
		if err := Build(ctx, bin); err != nil {
			return err
		}
	}
	s.say("making certificates and soft tokens")
	var err error
	if s.PKI, err = testcerts.New(testcerts.Options{Now: s.opts.Now(), Name: "TANBA DEMO"}); err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	for name, a := range map[string]*testcerts.Authority{"root.pem": s.PKI.Root, "ca.pem": s.PKI.CA} {
		if err := os.WriteFile(filepath.Join(s.Dir, pkiDir, name), []byte(a.Certificate.PEM()), 0o600); err != nil {
			return err
		}
	}
	if s.Tokens, err = newTokens(filepath.Join(s.Dir, tokenDir), s.PKI); err != nil {
		return err
	}
	s.People = people
	s.say("starting the CRM")
	if err := s.startCRM(ctx); err != nil {
		return err
	}
	s.say("starting the agent")
	return s.startAgent(ctx, bin)
}

func (s *Stage) say(line string) { fmt.Fprintln(s.opts.Say, "·", line) }

// listen takes the first free port from Options.Port on.
func (s *Stage) listen() (net.Listener, error) {
	var err error
	for p := s.opts.Port; p < s.opts.Port+50; p++ {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p))); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port for the CRM: %w", err)
}

func (s *Stage) startCRM(ctx context.Context) error {
	l, err := s.listen()
	if err != nil {
		return err
	}
	s.URL = "http://" + l.Addr().String()
	if s.opts.TLS {
		leaf, err := s.PKI.IssueTLS(testcerts.TLSSpec{})
		if err != nil {
			return errors.Join(err, l.Close())
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		s.URL = "https://localhost:" + port
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}, MinVersion: tls.VersionTLS12})
	}
	s.CRM, err = crm.New(crm.Config{
		Dir: filepath.Join(s.Dir, crmDir), Origin: s.URL, Roots: []*cert.Certificate{s.PKI.Root.Certificate}, Issuers: []*cert.Certificate{s.PKI.CA.Certificate}, People: s.People, Client: js.Module,
		FirstPort: s.opts.FirstPort, LastPort: s.opts.LastPort, FrameAncestors: s.opts.FrameAncestors, Bearers: s.opts.Bearers,
		Wrap: s.opts.Wrap, Tools: s.Tokens, Now: s.opts.Now, Log: s.opts.Log,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.served = make(chan error, 1)
	go func() { s.served <- s.CRM.Serve(ctx, l) }()
	return nil
}

// settings is the agent's config file. The keys are agent/policy's.
type settings struct {
	Language    string   `toml:"language,omitempty"`
	HTTPOrigins []string `toml:"http_origins,omitempty"`
	ExtraRoots  []string `toml:"extra_roots,omitempty"`
	Modules     []string `toml:"modules"`
	FindModules bool     `toml:"find_modules"`
	PortFirst   int      `toml:"port_first"`
	PortLast    int      `toml:"port_last"`
}

// isolated are the variables by which the agent's folders are found.
var isolated = []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"}

func (s *Stage) startAgent(ctx context.Context, bin string) error {
	set := settings{
		Language: s.opts.Language, Modules: []string{s.Tokens.Library}, PortFirst: s.opts.FirstPort, PortLast: s.opts.LastPort,
	}
	if s.opts.TLS {
		set.ExtraRoots = []string{filepath.Join(s.Dir, pkiDir, "root.pem")}
	} else {
		set.HTTPOrigins = []string{s.URL}
	}
	text, err := toml.Marshal(set)
	if err != nil {
		return err
	}
	config := filepath.Join(s.Dir, configFile)
	if err := os.WriteFile(config, append(text, s.opts.Config...), 0o600); err != nil {
		return err
	}
	openers := filepath.Join(s.Dir, openersDir)
	path := filepath.SplitList(os.Getenv("PATH"))
	if s.opts.CatchPrompts {
		s.Prompts, err = catchPrompts(openers, filepath.Join(s.Dir, promptFile))
	} else {
		err = passPrompts(openers, path)
	}
	if err != nil {
		return err
	}
	args := []string{"--config", config}
	if !s.opts.Tray {
		args = append([]string{"--headless"}, args...)
	}
	s.Agent = &Agent{
		Binary: filepath.Join(bin, "tanba"+exeSuffix), Args: args, Env: s.environment(openers),
		LogPath: filepath.Join(s.Dir, "agent.log"), FirstPort: s.opts.FirstPort, LastPort: s.opts.LastPort,
	}
	return s.Agent.Start(ctx)
}

// environment is ours with every folder inside the demo's, and the openers
// first in PATH.
func (s *Stage) environment(openers string) []string {
	in := func(d string) string { return filepath.Join(s.Dir, d) }
	env := append(os.Environ(),
		"HOME="+in("home"), "XDG_CONFIG_HOME="+in("config"), "XDG_DATA_HOME="+in("data"), "XDG_STATE_HOME="+in("state"),
		"XDG_CACHE_HOME="+in("cache"), "XDG_RUNTIME_DIR="+in("run"), "APPDATA="+in("config"), "LOCALAPPDATA="+in("data"),
		"PATH="+openers+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, ok := os.LookupEnv("DBUS_SESSION_BUS_ADDRESS"); !ok && os.Getenv("XDG_RUNTIME_DIR") != "" {
		env = append(env, "DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "bus"))
	}
	env = append(env, s.Tokens.Env()...)
	return append(env, s.opts.Env...)
}

// Close stops the agent and the CRM. The folder stays.
func (s *Stage) Close() error {
	var errs []error
	if s.Agent != nil {
		errs = append(errs, s.Agent.Stop())
	}
	if s.stop != nil {
		s.stop()
		errs = append(errs, <-s.served)
	}
	if s.CRM != nil {
		errs = append(errs, s.CRM.Close())
	}
	return errors.Join(errs...)
}

// OpenBrowser shows address in the person's browser.
func OpenBrowser(ctx context.Context, address string) error {
	name, args := opener()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, append(args, address)...)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // it may have become the browser
	return nil
}

// LanguageOf returns the agent's language for a value of LANG, empty if it
// speaks none of that.
func LanguageOf(lang string) string {
	for _, l := range []string{"kk", "ru", "en"} {
		if strings.HasPrefix(lang, l) {
			return l
		}
	}
	return ""
}
