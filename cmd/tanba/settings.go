package main

import (
	"errors"
	"os"
	"path/filepath"

	"tanba/agent/policy"
	"tanba/agent/text"
)

// folders are the user's, one each for settings, data and logs. All are 0700.
type folders struct{ config, data, state string }

func (f folders) make() error {
	var errs []error
	for _, d := range []string{f.config, f.data, f.state} {
		errs = append(errs, os.MkdirAll(d, 0o700))
	}
	return errors.Join(errs...)
}

func (f folders) configFile() string { return filepath.Join(f.config, "config.toml") }

// settings reads the user's file, or the one named on the command line, and
// the machine's policy over it.
func (e *env) settings() (policy.Policy, folders, error) {
	f, err := findFolders()
	if err != nil {
		return policy.Policy{}, folders{}, err
	}
	user := policy.Layer{Name: "user", Path: f.configFile()}
	if e.config != "" {
		if _, err := os.Stat(e.config); err != nil {
			return policy.Policy{}, folders{}, &usageError{err}
		}
		user = policy.Layer{Name: "--config", Path: e.config}
	}
	p, err := policy.Load(user, policy.Layer{Name: "machine", Path: machinePolicy})
	return p, f, err
}

// language is the signer's: the settings', else the system's.
func language(p policy.Policy) text.Lang {
	if p.Language != "" {
		l, _ := text.Parse(p.Language)
		return l
	}
	for _, v := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if s := os.Getenv(v); s != "" {
			l, _ := text.Parse(s)
			return l
		}
	}
	return systemLanguage()
}
