// Package sites knows which web origins the signer or IT has allowed, and the
// key that is shown to each.
//
// A site is one exact origin, as browsers write it: "https://crm.example.kz".
// What the signer decided is kept in one small JSON file; policy is looked at
// first and is never written. The key of a site is derived from one secret of
// this computer's user and the origin, so that two sites cannot recognise the
// same computer by it, and nothing has to be stored for a site.
package sites

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tanba/agent/policy"
)

// Bounds of the file. The oldest strangers are forgotten first.
const (
	maxFile      = 1 << 20
	maxAllowed   = 1000
	maxStrangers = 200
	// strangerTabs bounds the tabs opened for all strangers together in
	// Limits.StrangerTabs: one site can have any number of subdomains.
	strangerTabs = 5
)

// A Status is what a site may do.
type Status string

// The states of a site.
const (
	// Allowed by the signer or by policy.
	Allowed Status = "allowed"
	// Unknown: may ask for access and nothing else.
	Unknown Status = "unknown"
	// Blocked by policy.
	Blocked Status = "blocked"
	// Forbidden: policy lets only its own sites in and this is none of them, or
	// the origin is not https and policy does not name it, or is no origin.
	Forbidden Status = "forbidden"
)

// Errors of MayAsk and of changes.
var (
	// ErrTooSoon: a tab was opened for this site, or for too many sites, a
	// short while ago.
	ErrTooSoon = errors.New("asked a short while ago")
	// ErrRefusedForGood: the signer refused this site too often.
	ErrRefusedForGood = errors.New("refused too often")
	// ErrPolicy: policy decides about this site, the signer cannot.
	ErrPolicy = errors.New("policy decides about this site")
	// ErrFull: as many sites are allowed as the file may hold.
	ErrFull = errors.New("too many sites")
)

// A Site is one entry of List.
type Site struct {
	Origin string `json:"origin"`
	// Status is Allowed, Blocked, Forbidden, or Unknown for a site that only
	// asked.
	Status Status `json:"status"`
	// ByPolicy: IT decided, not the signer.
	ByPolicy bool `json:"byPolicy"`
	// AllowedAt is when the signer allowed it, zero if policy did.
	AllowedAt time.Time `json:"allowedAt,omitzero"`
	// Refusals counts the signer's.
	Refusals int `json:"refusals"`
}

// entry is one site in the file.
type entry struct {
	Origin   string    `json:"origin"`
	Allowed  time.Time `json:"allowed,omitzero"`
	Asked    time.Time `json:"asked,omitzero"`
	Refusals int       `json:"refusals,omitempty"`
}

type file struct {
	Version int     `json:"version"`
	Sites   []entry `json:"sites"`
}

// A Store is the list of sites. Its methods may be called from several
// goroutines.
type Store struct {
	path   string
	pol    policy.Policy
	secret []byte

	mu    sync.RWMutex
	sites map[string]entry
}

// Open reads the sites at path, a JSON file that is made at the first change,
// and the secret at secretPath, which is made now if there is none. Both are
// for the current user alone (mode 0600). A file that cannot be understood is
// an error: forgetting a decision silently would be worse.
func Open(path string, pol policy.Policy, secretPath string) (*Store, error) {
	secret, err := openSecret(secretPath)
	if err != nil {
		return nil, fmt.Errorf("secret of the sites' keys: %w", err)
	}
	s := &Store{path: path, pol: pol, secret: secret, sites: map[string]entry{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return s, s.read(data)
}

func (s *Store) read(data []byte) error {
	if len(data) > maxFile {
		return fmt.Errorf("malformed list of sites: more than %d bytes", maxFile)
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return fmt.Errorf("malformed list of sites: %w", err)
	}
	if dec.More() {
		return errors.New("malformed list of sites: data after the end")
	}
	if f.Version != 1 {
		return fmt.Errorf("unsupported list of sites: version %d", f.Version)
	}
	for _, e := range f.Sites {
		if err := policy.CheckOrigin(e.Origin); err != nil {
			return fmt.Errorf("malformed list of sites: %w", err)
		}
		s.sites[e.Origin] = e
	}
	return nil
}

// Status says what origin may do.
func (s *Store) Status(origin string) Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st, _ := s.status(origin)
	return st
}

// status also says whether policy decided. s.mu is held.
func (s *Store) status(origin string) (st Status, byPolicy bool) {
	switch {
	case policy.CheckOrigin(origin) != nil:
		return Forbidden, true
	case slices.Contains(s.pol.BlockedSites, origin):
		return Blocked, true
	case !strings.HasPrefix(origin, "https://") && !slices.Contains(s.pol.HTTPOrigins, origin):
		return Forbidden, true
	case slices.Contains(s.pol.AllowedSites, origin):
		return Allowed, true
	case s.pol.SitesLocked:
		return Forbidden, true
	case !s.sites[origin].Allowed.IsZero():
		return Allowed, false
	}
	return Unknown, false
}

// Allow records that the signer allowed origin at the given time. It returns
// ErrPolicy when policy forbids the site.
func (s *Store) Allow(origin string, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, byPolicy := s.status(origin)
	if st == Allowed && byPolicy {
		return nil
	}
	if byPolicy {
		return fmt.Errorf("allowing %s: %w", origin, ErrPolicy)
	}
	n := 0
	for _, e := range s.sites {
		if !e.Allowed.IsZero() {
			n++
		}
	}
	if st != Allowed && n >= maxAllowed {
		return ErrFull
	}
	return s.set(entry{Origin: origin, Allowed: at.UTC()})
}

// Revoke takes back what the signer decided about origin, refusals too. It
// returns ErrPolicy when policy allows the site.
func (s *Store) Revoke(origin string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, byPolicy := s.status(origin); st == Allowed && byPolicy {
		return fmt.Errorf("revoking %s: %w", origin, ErrPolicy)
	}
	e, ok := s.sites[origin]
	if !ok {
		return nil
	}
	delete(s.sites, origin)
	if err := s.save(); err != nil {
		s.sites[origin] = e
		return err
	}
	return nil
}

// Refuse counts one refusal of origin by the signer.
func (s *Store) Refuse(origin string, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, _ := s.status(origin); st != Unknown {
		return fmt.Errorf("refusing %s: %w", origin, ErrPolicy)
	}
	e := s.sites[origin]
	e.Origin, e.Asked = origin, at.UTC()
	e.Refusals++
	return s.set(e)
}

// MayAsk reports whether a tab may be opened to ask the signer about origin
// now, and if so takes note of it, also across a restart. Its errors are
// ErrTooSoon, ErrRefusedForGood, ErrPolicy, or those of writing the file.
func (s *Store) MayAsk(origin string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, _ := s.status(origin); st != Unknown {
		return ErrPolicy
	}
	e := s.sites[origin]
	if e.Refusals >= s.pol.Limits.StrangerRefusals {
		return ErrRefusedForGood
	}
	since, tabs := now.Add(-time.Duration(s.pol.Limits.StrangerTabs)), 0
	for _, other := range s.sites {
		if recent(other.Asked, since, now) {
			tabs++
		}
	}
	if recent(e.Asked, since, now) || tabs >= strangerTabs {
		return ErrTooSoon
	}
	e.Origin, e.Asked = origin, now.UTC()
	return s.set(e)
}

// recent: a time in the future comes from a clock that was set back and does
// not shut the site out.
func recent(t, since, now time.Time) bool { return t.After(since) && !t.After(now) }

// List returns every site that policy or the signer decided about, by origin.
func (s *Store) List() []Site {
	s.mu.RLock()
	defer s.mu.RUnlock()
	seen := map[string]bool{}
	var out []Site
	for _, o := range slices.Concat(s.pol.AllowedSites, s.pol.BlockedSites) {
		if !seen[o] {
			seen[o] = true
			st, _ := s.status(o)
			out = append(out, Site{Origin: o, Status: st, ByPolicy: true})
		}
	}
	for o, e := range s.sites {
		if !seen[o] {
			st, byPolicy := s.status(o)
			out = append(out, Site{Origin: o, Status: st, ByPolicy: byPolicy, AllowedAt: e.Allowed, Refusals: e.Refusals})
		}
	}
	slices.SortFunc(out, func(a, b Site) int { return cmp.Compare(a.Origin, b.Origin) })
	return out
}

// set puts e in and saves; on error everything is as before. s.mu is held.
func (s *Store) set(e entry) error {
	old := s.sites
	s.sites = make(map[string]entry, len(old)+1)
	for o, v := range old {
		s.sites[o] = v
	}
	s.sites[e.Origin] = e
	s.forget()
	if err := s.save(); err != nil {
		s.sites = old
		return err
	}
	return nil
}

// forget drops the strangers that asked longest ago, those without refusals
// first. s.mu is held.
func (s *Store) forget() {
	var strangers []entry
	for _, e := range s.sites {
		if e.Allowed.IsZero() {
			strangers = append(strangers, e)
		}
	}
	slices.SortFunc(strangers, func(a, b entry) int {
		if (a.Refusals > 0) != (b.Refusals > 0) {
			return a.Refusals - b.Refusals
		}
		return a.Asked.Compare(b.Asked)
	})
	for len(strangers) > maxStrangers {
		delete(s.sites, strangers[0].Origin)
		strangers = strangers[1:]
	}
}

// save replaces the file: a crash leaves the old one or the new one.
func (s *Store) save() (err error) {
	f := file{Version: 1, Sites: make([]entry, 0, len(s.sites))}
	for _, e := range s.sites {
		f.Sites = append(f.Sites, e)
	}
	slices.SortFunc(f.Sites, func(a, b entry) int { return cmp.Compare(a.Origin, b.Origin) })
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	tmp, err := os.CreateTemp(dir, ".sites-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(append(data, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), s.path); err != nil {
		return err
	}
	return syncDir(dir)
}
