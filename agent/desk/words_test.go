package desk

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/text"
)

// Every text that the page's scripts name exists, and every text of the PIN's
// forms has its place in them.
func TestWords(t *testing.T) {
	var script strings.Builder
	names, err := fs.Glob(assets, "assets/*.js")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(names), 2)
	for _, name := range names {
		data, err := assets.ReadFile(name)
		require.NoError(t, err)
		script.Write(data)
	}
	table := words()[text.English]
	used := map[text.Key]bool{}
	for _, m := range regexp.MustCompile(`'((?:desk|page|prompt|trouble)\.[a-z0-9_.]*[a-z0-9_])'`).FindAllStringSubmatch(script.String(), -1) {
		used[text.Key(m[1])] = true
		if !strings.HasPrefix(m[1], "page.") { // some of those are put together
			assert.NotEmpty(t, table[text.Key(m[1])], "%s is a place without text", m[1])
		}
	}
	require.Greater(t, len(used), 40)
	for key := range table {
		if strings.HasPrefix(string(key), "desk.pin.") && !strings.HasPrefix(string(key), "desk.pin.problem.") {
			assert.True(t, used[key], "%s is a text without place", key)
		}
	}
}
