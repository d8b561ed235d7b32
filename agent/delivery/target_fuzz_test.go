package delivery

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/policy"
)

// FuzzParseTarget: what is accepted has an origin as browsers write it, and the
// request that is made of it goes to that origin.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"https://crm.example.kz/a?b=c", "https://CRM.example.kz:443", "http://[::1]:80/", "https://[2001:DB8::1]:8443/x", "https://a@b/", "https://a#b",
		"https://127.1/", "https://a:65535", "HTTPS://a/%2f", "https://a/?u=https://b", "https://a%2eb/", "https://[::1%25eth0]/", `https://a\\b`, "https://:443/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, origin, err := parseTarget(raw)
		if err != nil {
			return
		}
		require.NoError(t, policy.CheckOrigin(origin), raw)
		assert.Nil(t, u.User)
		again, err := url.Parse(u.String())
		require.NoError(t, err)
		_, same, err := parseTarget(again.String())
		require.NoError(t, err)
		assert.Equal(t, origin, same)
	})
}
