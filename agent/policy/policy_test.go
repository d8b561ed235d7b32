package policy

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, text string) string {
	p := filepath.Join(t.TempDir(), "p.toml")
	require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
	return p
}

func TestDefaultsAreValid(t *testing.T) {
	p, err := Load(Layer{"user", filepath.Join(t.TempDir(), "absent")})
	require.NoError(t, err)
	assert.True(t, p.FindModules)
	assert.Equal(t, 1000, p.Limits.Documents)
	assert.Empty(t, p.Sources)
}

func TestMachineWinsAndSourcesTell(t *testing.T) {
	p, err := Load(
		Layer{"user", write(t, "language = \"ru\"\nallowed_sites = [\"https://a.kz\"]\n[limits]\nprompt = \"5m\"\ndocuments = 7\n")},
		Layer{"machine", write(t, "language = \"kk\"\nsites_locked = true\n[limits]\nprompt = \"2m\"\n")})
	require.NoError(t, err)
	assert.Equal(t, "kk", p.Language)
	assert.True(t, p.SitesLocked)
	assert.Equal(t, []string{"https://a.kz"}, p.AllowedSites)
	assert.Equal(t, 2*time.Minute, time.Duration(p.Limits.Prompt))
	assert.Equal(t, 7, p.Limits.Documents, "a table is merged by key")
	assert.Equal(t, map[string]string{"language": "machine", "sites_locked": "machine", "allowed_sites": "user", "limits": "machine"}, p.Sources)
}

func TestWrongSettingsAreRefusedWhole(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":       "colour = 1",
		"unknown limit":     "[limits]\nspeed = 1",
		"wrong type":        "sites_locked = \"yes\"",
		"not TOML":          "a = = b",
		"origin with path":  "allowed_sites = [\"https://a.kz/\"]",
		"origin upper case": "http_origins = [\"http://A.kz\"]",
		"default port":      "blocked_sites = [\"https://a.kz:443\"]",
		"target":            "[targets]\n\"https://a.kz\" = [\"ftp://b.kz\"]",
		"pin entry":         "pin_entry = \"native\"",
		"ports":             "port_first = 17659\nport_last = 17650",
		"level":             "log_level = \"all\"",
		"no bound":          "[limits]\ndocument = 0",
		"duration":          "[limits]\nprompt = \"ten\"",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Layer{"user", write(t, text)})
			require.Error(t, err)
		})
	}
	big := filepath.Join(t.TempDir(), "big")
	require.NoError(t, os.WriteFile(big, make([]byte, MaxFile+1), 0o600))
	_, err := Load(Layer{"user", big})
	require.Error(t, err)
}

func TestCheckOrigin(t *testing.T) {
	for _, good := range []string{"https://crm.kz", "http://127.0.0.1:8700", "https://xn--80ak6aa92e.com", "https://[::1]:8443"} {
		assert.NoError(t, CheckOrigin(good), good)
	}
	for _, bad := range []string{"", "null", "crm.kz", "https://", "https://crm.kz/", "https://crm.kz?x", "https://u@crm.kz", "file:///", "chrome-extension://abc", "https://CRM.kz", "http://a.kz:80", "https://*.crm.kz"} {
		assert.Error(t, CheckOrigin(bad), bad)
	}
}
