package pages

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStreamProvesWhoWeAre(t *testing.T) {
	d := newDesk(t)
	sh, base, secret := d.show(echo("prompt"))
	status, _, body := send(t, "POST", base+"/api/redeem", `{"secret":"`+secret+`"}`)
	require.Equal(t, http.StatusOK, status)
	var in struct{ Bearer, Key string }
	require.NoError(t, json.Unmarshal([]byte(body), &in))
	require.Len(t, in.Key, 43)
	sh.Push("state", 1)

	first := func(nonce string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/api/stream", nil)
		require.NoError(t, err)
		for k, v := range map[string]string{"Origin": base, "Authorization": "Bearer " + in.Bearer, nonceHeader: nonce} {
			r.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		require.NoError(t, err)
		return line
	}
	nonce := strings.Repeat("5a", 16)
	m := hmac.New(sha256.New, []byte(in.Key))
	raw, err := hex.DecodeString(nonce)
	require.NoError(t, err)
	m.Write(raw)
	assert.Equal(t, `{"event":"proof","data":"`+hex.EncodeToString(m.Sum(nil))+`"}`+"\n", first(nonce))
	for _, malformed := range []string{"", "5a", strings.Repeat("zz", 16), strings.Repeat("5a", 17)} {
		assert.Contains(t, first(malformed), `"state"`, "no proof of %q", malformed)
	}
}
