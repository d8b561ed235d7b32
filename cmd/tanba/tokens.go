package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tanba/agent/policy"
	"tanba/crypto/cert"
	"tanba/tokens"
	"tanba/tokens/find"
	"tanba/tokens/keyring"
	"tanba/tokens/remote"
)

// libraries returns the PKCS#11 libraries to load. What IT's policy names, and
// what is found, must lie where the user cannot write; what the user's own
// settings name is the user's choice.
func libraries(p policy.Policy) (paths []string, problems []error) {
	for _, m := range p.Modules {
		switch {
		case !filepath.IsAbs(m):
			problems = append(problems, fmt.Errorf("library %s: the path must be absolute", m))
		case p.Sources["modules"] == "machine" && find.Trusted(m) != nil:
			problems = append(problems, fmt.Errorf("library %s: %w", m, find.Trusted(m)))
		default:
			paths = append(paths, m)
		}
	}
	if p.FindModules {
		found, refused := find.Libraries()
		problems = append(problems, refused...)
		for _, m := range found {
			if !slices.Contains(paths, m) {
				paths = append(paths, m)
			}
		}
	}
	return paths, problems
}

// openTokens makes one ring of every token that the libraries reach. Each
// library is loaded in a token process of its own, from now on.
func openTokens(p policy.Policy, paths []string, log *slog.Logger) (*keyring.Keyring, error) {
	host, err := remote.HostBeside()
	if err != nil {
		return nil, err
	}
	var drivers []tokens.Driver
	for _, lib := range paths {
		d, err := remote.New(remote.Config{
			Host: host, Library: lib, Log: log,
			Timeouts: remote.Timeouts{
				Call: time.Duration(p.Limits.Token), Login: time.Duration(p.Limits.Login), Sign: time.Duration(p.Limits.Sign),
			},
		})
		if err != nil {
			return nil, err
		}
		drivers = append(drivers, d)
	}
	return keyring.New(drivers, log), nil
}

type tokensCmd struct {
	JSON bool `help:"Print one JSON object."`
}

// A listedToken is a token in the JSON of tanba tokens.
type listedToken struct {
	tokens.Token
	Identities []listedIdentity `json:"identities"`
}

type listedIdentity struct {
	Label        string       `json:"label"`
	Name         string       `json:"name"`
	Organization string       `json:"organization,omitempty"`
	IIN          string       `json:"iin,omitempty"`
	BIN          string       `json:"bin,omitempty"`
	Role         string       `json:"role,omitempty"`
	Issuer       string       `json:"issuer"`
	NotAfter     time.Time    `json:"notAfter"`
	DaysLeft     int          `json:"daysLeft"`
	SHA256       string       `json:"sha256"`
	Algorithms   []string     `json:"algorithms"`
	Problem      cert.Problem `json:"problem,omitempty"`
	KeyProblem   string       `json:"keyProblem,omitempty"`
}

func (c *tokensCmd) Run(ctx context.Context, e *env) error {
	p, _, err := e.settings()
	if err != nil {
		return err
	}
	paths, problems := libraries(p)
	ring, err := openTokens(p, paths, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer ring.Close()
	list, err := ring.List(ctx)
	if err != nil {
		return err
	}
	problems = append(problems, ring.Problems()...)
	out := make([]listedToken, 0, len(list))
	for _, t := range list {
		out = append(out, describeToken(t, e.now()))
	}
	if c.JSON {
		return printJSON(e.out, map[string]any{"tokens": out, "libraries": paths, "problems": messages(problems)})
	}
	printTokens(e.out, out)
	for _, p := range problems {
		fmt.Fprintln(e.err, "tanba:", p)
	}
	if len(out) == 0 {
		return fmt.Errorf("no token found; libraries looked into: %s", orNone(paths))
	}
	return nil
}

func describeToken(t tokens.Token, now time.Time) listedToken {
	l := listedToken{Token: t, Identities: []listedIdentity{}}
	for _, i := range t.Identities {
		c := i.Certificate
		d := listedIdentity{
			Label: i.Label, Name: c.Profile.Name, Organization: c.Profile.Organization, IIN: c.Profile.IIN, BIN: c.Profile.BIN,
			Role: c.Profile.Role, Issuer: c.X509.Issuer.CommonName, NotAfter: c.X509.NotAfter.UTC(),
			DaysLeft: int(c.X509.NotAfter.Sub(now).Hours() / 24), SHA256: c.Fingerprint(),
			Problem: c.ProblemAt(now), KeyProblem: i.Problem,
		}
		for _, a := range i.Algorithms {
			d.Algorithms = append(d.Algorithms, string(a))
		}
		l.Identities = append(l.Identities, d)
	}
	return l
}

func printTokens(w io.Writer, list []listedToken) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush()
	for _, t := range list {
		fmt.Fprintf(tw, "%s\tserial %s\t%s\tPIN %s\t%s\n", t.Label, t.Serial, t.Model, t.PIN, filepath.Base(t.Library))
		for _, i := range t.Identities {
			state := fmt.Sprintf("%d days left", i.DaysLeft)
			if i.Problem != "" {
				state = string(i.Problem)
			}
			if i.KeyProblem != "" {
				state = i.KeyProblem
			}
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", i.Name, i.Organization, i.Issuer, state, strings.Join(i.Algorithms, " "))
		}
	}
}

func messages(errs []error) []string {
	out := []string{}
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
