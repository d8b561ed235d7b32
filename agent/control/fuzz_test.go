package control

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzParse: what is accepted is written as one request that reads the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"cmd":"status"}`, `{"args":{"id":"1"},"cmd":"outbox.retry"}`, `{"cmd":"a","cmd":"b"}`, `{"cmd":"\u0061","args":{}}`, `[]`, `{`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		req, err := parse(line)
		if err != nil {
			return
		}
		require.NotEmpty(t, req.Cmd)
		out, err := json.Marshal(req)
		require.NoError(t, err)
		again, err := parse(out)
		require.NoError(t, err)
		assert.Equal(t, req.Cmd, again.Cmd)
		if req.Args != nil {
			assert.JSONEq(t, string(req.Args), string(again.Args))
		}
	})
}
