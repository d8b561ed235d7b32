package approve

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// client speaks to a page's listener as its script does, without a browser.
type client struct {
	t      testing.TB
	base   string // http://127.0.0.1:PORT
	bearer string
}

// client redeems the next address.
func (h *house) client() *client {
	h.t.Helper()
	select {
	case url := <-h.urls:
		base, secret, ok := strings.Cut(url, "#")
		require.True(h.t, ok)
		base = base[:strings.Index(base[len("http://"):], "/")+len("http://")]
		c := &client{t: h.t, base: base}
		var out struct{ Bearer string }
		require.Equal(h.t, http.StatusOK, c.post("redeem", "application/json", []byte(`{"secret":"`+secret+`"}`), &out))
		c.bearer = out.Bearer
		return c
	case <-time.After(10 * time.Second):
		require.Fail(h.t, "no page was opened")
		return nil
	}
}

func (c *client) post(path, mediaType string, body []byte, out any) int {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/api/"+path, bytes.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("Origin", c.base)
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	if out != nil && len(data) > 0 && data[0] == '{' {
		require.NoError(c.t, json.Unmarshal(data, out))
	}
	return res.StatusCode
}

// call returns the word of the refusal, empty if the call was answered.
func (c *client) call(method string, in any) string {
	c.t.Helper()
	body, err := json.Marshal(in)
	require.NoError(c.t, err)
	var out struct{ Error string }
	c.post("call/"+method, "application/json", body, &out)
	return out.Error
}

// pin returns the word of the refusal, and whether the token was unlocked.
func (c *client) pin(pin string) (string, bool) {
	c.t.Helper()
	var out struct {
		Error    string
		Unlocked bool
	}
	c.post("raw/pin", "application/octet-stream", []byte(pin), &out)
	return out.Error, out.Unlocked
}

// approval is the body of a call that approves all of f with its first
// certificate.
func approval(f *fakeAsk) map[string]any {
	var documents []map[string]string
	for _, d := range f.prepared.Documents {
		documents = append(documents, map[string]string{"id": d.ID, "sha256": d.Digest()})
	}
	return map[string]any{"documents": documents, "identity": f.tokens[0].Identities[0].ID, "finalTry": false}
}
