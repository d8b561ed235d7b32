package sites

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/policy"
)

var now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

const crm = "https://crm.example.kz"

func open(t *testing.T, dir string, pol policy.Policy) *Store {
	t.Helper()
	s, err := Open(filepath.Join(dir, "sites.json"), pol, filepath.Join(dir, "secret"))
	require.NoError(t, err)
	return s
}

func TestStatus(t *testing.T) {
	pol := policy.Default()
	pol.AllowedSites = []string{"https://it.example.kz", "http://plain.example.kz"}
	pol.BlockedSites = []string{"https://bad.example.kz"}
	pol.HTTPOrigins = []string{"http://intranet:8080", "http://plain.example.kz"}
	locked := pol
	locked.SitesLocked = true
	for _, c := range []struct {
		origin       string
		open, locked Status
	}{
		{crm, Unknown, Forbidden},
		{"https://it.example.kz", Allowed, Allowed},
		{"http://plain.example.kz", Allowed, Allowed},
		{"https://bad.example.kz", Blocked, Blocked},
		{"http://intranet:8080", Unknown, Forbidden},
		{"http://crm.example.kz", Forbidden, Forbidden},
		{"https://sub.it.example.kz", Unknown, Forbidden},
		{"null", Forbidden, Forbidden},
		{"", Forbidden, Forbidden},
		{"file://", Forbidden, Forbidden},
		{"chrome-extension://abcdefgh", Forbidden, Forbidden},
		{"https://CRM.example.kz", Forbidden, Forbidden},
		{"https://crm.example.kz/", Forbidden, Forbidden},
	} {
		t.Run(c.origin, func(t *testing.T) {
			assert.Equal(t, c.open, open(t, t.TempDir(), pol).Status(c.origin))
			assert.Equal(t, c.locked, open(t, t.TempDir(), locked).Status(c.origin))
		})
	}
}

func TestDecisionsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, policy.Default())
	require.NoError(t, s.Allow(crm, now))
	require.NoError(t, s.Refuse("https://other.example", now))
	key := s.Key(crm)

	s = open(t, dir, policy.Default())
	assert.Equal(t, Allowed, s.Status(crm))
	assert.Equal(t, []Site{
		{Origin: crm, Status: Allowed, AllowedAt: now},
		{Origin: "https://other.example", Status: Unknown, Refusals: 1},
	}, s.List())
	assert.Equal(t, key, s.Key(crm))

	require.NoError(t, s.Revoke(crm))
	assert.Equal(t, Unknown, open(t, dir, policy.Default()).Status(crm))
}

func TestPolicyWins(t *testing.T) {
	pol := policy.Default()
	pol.AllowedSites = []string{"https://it.example.kz"}
	pol.BlockedSites = []string{"https://bad.example.kz"}
	s := open(t, t.TempDir(), pol)
	assert.ErrorIs(t, s.Revoke("https://it.example.kz"), ErrPolicy)
	assert.ErrorIs(t, s.Allow("https://bad.example.kz", now), ErrPolicy)
	assert.ErrorIs(t, s.Allow("http://crm.example.kz", now), ErrPolicy)
	assert.ErrorIs(t, s.MayAsk("https://bad.example.kz", now), ErrPolicy)
	assert.NoError(t, s.Allow("https://it.example.kz", now))
}

func TestMayAsk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, policy.Default())
	require.NoError(t, s.MayAsk(crm, now))
	assert.ErrorIs(t, s.MayAsk(crm, now.Add(9*time.Minute)), ErrTooSoon)
	s = open(t, dir, policy.Default())
	assert.ErrorIs(t, s.MayAsk(crm, now.Add(9*time.Minute)), ErrTooSoon, "a restart forgets nothing")
	assert.NoError(t, s.MayAsk(crm, now.Add(10*time.Minute)))
	for i := range 3 {
		require.NoError(t, s.Refuse(crm, now.Add(time.Duration(i)*time.Hour)))
	}
	assert.ErrorIs(t, s.MayAsk(crm, now.Add(1000*time.Hour)), ErrRefusedForGood)
	require.NoError(t, s.Revoke(crm))
	assert.NoError(t, s.MayAsk(crm, now.Add(1000*time.Hour)), "revoking forgets the refusals")
	assert.NoError(t, s.MayAsk("https://second.example", now.Add(-time.Hour)), "a clock set back shuts nobody out")
}

func TestSubdomainsShareTheBoundOnTabs(t *testing.T) {
	s := open(t, t.TempDir(), policy.Default())
	for i := range strangerTabs {
		require.NoError(t, s.MayAsk(fmt.Sprintf("https://a%d.example", i), now))
	}
	assert.ErrorIs(t, s.MayAsk("https://b.example", now), ErrTooSoon)
	assert.NoError(t, s.MayAsk("https://b.example", now.Add(11*time.Minute)))
}

func TestStrangersAreForgotten(t *testing.T) {
	s := open(t, t.TempDir(), policy.Default())
	require.NoError(t, s.Allow(crm, now))
	require.NoError(t, s.Refuse("https://refused.example", now.Add(-time.Hour)))
	for i := range maxStrangers + 20 {
		s.sites[fmt.Sprintf("https://a%d.example", i)] = entry{Origin: fmt.Sprintf("https://a%d.example", i), Asked: now}
	}
	require.NoError(t, s.MayAsk("https://b.example", now.Add(time.Hour)))
	assert.Len(t, s.sites, maxStrangers+1)
	assert.Equal(t, Allowed, s.Status(crm))
	assert.Contains(t, s.sites, "https://refused.example", "refusals are kept longest")
	assert.Contains(t, s.sites, "https://b.example")
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, policy.Default())
	a, b := s.Key(crm), s.Key("https://other.example")
	assert.NotEqual(t, a, b)
	assert.True(t, ed25519.Verify(a.Public().(ed25519.PublicKey), []byte("m"), ed25519.Sign(a, []byte("m"))))
	assert.NotEqual(t, a, open(t, t.TempDir(), policy.Default()).Key(crm), "another computer, another key")

	st, err := os.Stat(filepath.Join(dir, "secret"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	require.NoError(t, s.Allow(crm, now))
	st, err = os.Stat(filepath.Join(dir, "sites.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(path, []byte("half"), 0o644))
	s := open(t, dir, policy.Default())
	assert.Len(t, s.secret, secretSize, "what a crash left is made anew")
	require.NoError(t, os.Chmod(path, 0o644))
	open(t, dir, policy.Default())
	st, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode().Perm(), "closed to others at each start")
	require.NoError(t, os.WriteFile(path, make([]byte, 33), 0o600))
	_, err = Open(filepath.Join(dir, "sites.json"), policy.Default(), path)
	assert.Error(t, err)
}

func TestMalformedFiles(t *testing.T) {
	for name, data := range map[string]string{
		"empty":          ``,
		"not JSON":       `sites`,
		"unknown key":    `{"version":1,"sites":[],"more":1}`,
		"version":        `{"version":2,"sites":[]}`,
		"origin":         `{"version":1,"sites":[{"origin":"crm.example.kz"}]}`,
		"trailing":       `{"version":1,"sites":[]} {}`,
		"beyond bound":   fmt.Sprintf("%*s", maxFile+1, `{"version":1,"sites":[]}`),
		"unknown member": `{"version":1,"sites":[{"origin":"https://a.example","admin":true}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "sites.json"), []byte(data), 0o600))
			_, err := Open(filepath.Join(dir, "sites.json"), policy.Default(), filepath.Join(dir, "secret"))
			assert.Error(t, err)
		})
	}
}

func TestAFailedWriteChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	require.NoError(t, os.Mkdir(dir, 0o700))
	s := open(t, dir, policy.Default())
	require.NoError(t, s.Allow(crm, now))
	require.NoError(t, os.RemoveAll(dir))
	assert.Error(t, s.Allow("https://other.example", now))
	assert.Equal(t, Unknown, s.Status("https://other.example"))
	assert.Error(t, s.Revoke(crm))
	assert.Equal(t, Allowed, s.Status(crm))
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, policy.Default())
	var wg sync.WaitGroup
	asked := make(chan error, 20)
	for i := range 20 {
		wg.Go(func() {
			asked <- s.MayAsk(crm, now)
			assert.NoError(t, s.Allow(fmt.Sprintf("https://a%d.example", i), now))
			s.Status(crm)
			s.List()
		})
	}
	wg.Wait()
	close(asked)
	n := 0
	for err := range asked {
		if err == nil {
			n++
		}
	}
	assert.Equal(t, 1, n, "one tab")
	assert.Len(t, open(t, dir, policy.Default()).sites, 21)
}
