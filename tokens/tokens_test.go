package tokens_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/tokens"
)

func TestPINNeverPrints(t *testing.T) {
	pin := tokens.NewPIN([]byte("93751"))
	holder := struct{ P tokens.PIN }{pin}
	var all bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%p", "%t", "%e"} {
		fmt.Fprintf(&all, verb+"\n", pin)
		fmt.Fprintf(&all, verb+"\n", &pin)
		fmt.Fprintf(&all, verb+"\n", []tokens.PIN{pin})
	}
	hidden := struct{ p tokens.PIN }{pin}
	fmt.Fprintf(&all, "%v %+v %#v %v %#v\n", holder, holder, holder, hidden, hidden)
	j, err := json.Marshal(holder)
	require.NoError(t, err)
	all.Write(j)
	slog.New(slog.NewTextHandler(&all, nil)).Info("x", "pin", pin, "holder", holder)
	slog.New(slog.NewJSONHandler(&all, nil)).Info("x", "pin", pin, "holder", holder)
	for _, leak := range []string{"93751", "57 51 55 53 49", "3933373531", "'9'"} {
		assert.NotContains(t, all.String(), leak)
	}
	assert.Contains(t, all.String(), "[PIN]")
	pin.Wipe()
	assert.Equal(t, make([]byte, 5), pin.Bytes())
}
