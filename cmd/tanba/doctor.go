package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"tanba/agent/control"
	"tanba/agent/gate"
	"tanba/agent/policy"
	"tanba/tokens/remote"
)

type doctorCmd struct {
	JSON   bool   `help:"Print one JSON object."`
	Bundle string `help:"Write what support needs, without personal data, into a new zip file, after showing what is in it." placeholder:"FILE.zip" type:"path"`
}

// A finding is one line of doctor: what was looked at, how it is, and what to
// do about it.
type finding struct {
	Good   bool   `json:"good"`
	What   string `json:"what"`
	Remedy string `json:"remedy,omitempty"`
	// private findings name the signer's token; they are in no bundle.
	private bool
}

func (c *doctorCmd) Run(ctx context.Context, e *env) error {
	var all []finding
	add := func(good bool, what, remedy string) {
		if good {
			remedy = ""
		}
		all = append(all, finding{Good: good, What: what, Remedy: remedy, private: strings.Contains(what, "\"")})
	}
	add(true, "version "+Version, "")
	p, f, err := e.settings()
	if err != nil {
		add(false, "settings: "+err.Error(), "mend or remove the file")
		return c.print(e, all)
	}
	for _, line := range settingLines(p) {
		add(true, line, "")
	}
	host, err := remote.HostBeside()
	if err != nil {
		add(false, "tokenhost: "+err.Error(), "install Tanba again: tokenhost belongs beside tanba")
		return c.print(e, all)
	}
	add(true, "tokenhost "+host, "")
	c.tokens(ctx, e, p, add)
	if err := gate.SystemPeer().Supported(); err != nil {
		add(false, "checking who connects: "+err.Error(), "other programs of this computer can reach the agent's socket; each signature still wants approval")
	}
	c.agent(ctx, add)
	add(true, "settings in "+f.config+", data in "+f.data+", log in "+filepath.Join(f.state, "tanba.log"), "")
	return c.print(e, all)
}

// tokens looks at libraries and tokens.
func (c *doctorCmd) tokens(ctx context.Context, e *env, p policy.Policy, add func(bool, string, string)) {
	paths, problems := libraries(p)
	ring, err := openTokens(p, paths, slog.New(slog.DiscardHandler))
	if err != nil {
		add(false, "tokens: "+err.Error(), "install Tanba again")
		return
	}
	defer ring.Close()
	list, err := ring.List(ctx)
	if err != nil {
		add(false, "tokens: "+err.Error(), "pull the token out and put it back")
	}
	for _, l := range paths {
		add(true, "driver "+l, "")
	}
	if len(paths) == 0 {
		add(false, "no token driver found", "install the driver from the token maker's site, or name it by modules in the settings")
	}
	for _, p := range append(problems, ring.Problems()...) {
		add(false, "driver: "+p.Error(), "install the driver again; the library must be an absolute path to a PKCS#11 library of this computer's kind")
	}
	for _, t := range list {
		add(true, fmt.Sprintf("token %q, PIN %s", t.Label, t.PIN), "")
		add(true, fmt.Sprintf("a token of model %s with %d certificates through %s, PIN %s", t.Model, len(t.Identities), filepath.Base(t.Library), t.PIN), "")
		for _, i := range describeToken(t, e.now()).Identities {
			good := i.Problem == "" && i.KeyProblem == ""
			add(good, fmt.Sprintf("certificate on %q: %d days left %s %s", t.Label, i.DaysLeft, i.Problem, i.KeyProblem), "ask the certification authority for a new certificate")
		}
	}
	if len(paths) > 0 && len(list) == 0 {
		add(false, "no token present", "plug the token in")
	}
}

// agent looks at the agent that runs.
func (c *doctorCmd) agent(ctx context.Context, add func(bool, string, string)) {
	var s statusReport
	err := ask(ctx, "status", nil, &s)
	switch {
	case errors.Is(err, control.ErrNoAgent):
		add(false, "the agent is not running", "start tanba")
	case err != nil:
		add(false, "the agent: "+err.Error(), "quit tanba and start it again")
	default:
		add(true, fmt.Sprintf("the agent runs on port %d", s.Port), "")
		add(s.Outbox.Parked == 0, fmt.Sprintf("%d results wait for a log-in to their site", s.Outbox.Parked), "open the CRM's page of the document and log in")
		add(s.Outbox.Dead == 0, fmt.Sprintf("%d results were not accepted", s.Outbox.Dead), "tanba outbox list, then save or drop them")
		for _, p := range s.Problems {
			add(false, "the agent: "+p, "see the log")
		}
	}
}

// settingLines lists what somebody has set, with its source.
func settingLines(p policy.Policy) []string {
	var out []string
	for k, layer := range p.Sources {
		out = append(out, fmt.Sprintf("setting %s from %s", k, layer))
	}
	slices.Sort(out)
	return out
}

func (c *doctorCmd) print(e *env, all []finding) error {
	bad := 0
	for _, f := range all {
		if !f.Good {
			bad++
		}
	}
	if c.JSON {
		if err := printJSON(e.out, map[string]any{"findings": all, "problems": bad}); err != nil {
			return err
		}
	} else {
		for _, f := range all {
			sign := "ok  "
			if !f.Good {
				sign = "BAD "
			}
			fmt.Fprintln(e.out, sign+strings.TrimSpace(f.What))
			if f.Remedy != "" {
				fmt.Fprintln(e.out, "     → "+f.Remedy)
			}
		}
	}
	if c.Bundle != "" {
		return writeBundle(e, c.Bundle, all)
	}
	if bad > 0 {
		return errSilent
	}
	return nil
}
