package approve

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/agent/text"
	"tanba/crypto/cert"
	"tanba/tokens"
)

// madeKeys are the keys that scripts put together from a word of ours.
func madeKeys() []string {
	var keys []string
	add := func(prefix string, words ...string) {
		for _, w := range words {
			keys = append(keys, prefix+w)
		}
	}
	for _, r := range job.Reasons {
		add("prompt.reason.", string(r))
	}
	for _, m := range []job.Misfit{job.OtherPerson, job.OtherOrganization, job.OtherCertificate, job.OtherRole, job.Unusable, pinElsewhere} {
		add("prompt.misfit.", string(m))
	}
	for _, p := range []cert.Problem{cert.NotYetValid, cert.Expired, cert.NotForSigning, cert.UnknownKey} {
		add("prompt.misfit.", string(p))
	}
	for _, r := range []tokens.PINReason{tokens.PINWrong, tokens.PINLength, tokens.PINChars, tokens.PINIsGone, tokens.PINOld} {
		add("prompt.problem.pin_", string(r))
	}
	add("prompt.problem.", "token_removed", "pad_cancelled", "token_failed", "token_busy", "unfit") // calls.go
	add("prompt.role.", "head", "authorised", "financial", "hr", "employee", "individual")
	add("prompt.", "count_low", "final_try", "locked", "to_change", "factory", "not_set", "subject", "reference", "counterpart", "iin", "bin", "issuer", "valid", "token")
	add("prompt.", "as_pades", "as_detached", "as_attached")
	for _, end := range []string{"rejected", "later", "timed_out", "cancelled"} {
		add("prompt.end.", end, end+"_text")
	}
	add("prompt.end.", "delivered", "delivering", "parked", "dead")
	for _, end := range []string{"allowed", "refused", "timed_out", "cancelled"} {
		add("access.end.", end, end+"_text")
	}
	for _, word := range []string{"gone", "moved", "lost"} {
		add("page.", word+"_title", word+"_text")
	}
	return keys
}

// TestWords holds the words and their places together: every key that a
// script names has a text, and every text has a place.
func TestWords(t *testing.T) {
	script := &strings.Builder{}
	require.NoError(t, fs.WalkDir(assets, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".js") {
			return err
		}
		data, err := assets.ReadFile(path)
		script.Write(data)
		return err
	}))
	common, err := os.ReadFile("../pages/client/pages.js")
	require.NoError(t, err)
	script.Write(common)
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`['"]((?:page|prompt|access|trouble)\.[a-z0-9_.]*[a-z0-9])['"]`).FindAllStringSubmatch(script.String(), -1) {
		used[m[1]] = true
	}
	require.Greater(t, len(used), 50)
	for _, k := range madeKeys() {
		used[k] = true
	}
	table := map[string]string{}
	for k, s := range wordTables()[text.English] {
		table[string(k)] = s
	}
	for k := range used {
		assert.NotEmpty(t, table[k], "%s is a place without text", k)
	}
	for k := range table {
		if strings.HasPrefix(k, "common.") || strings.HasPrefix(k, "trouble.") {
			continue
		}
		assert.True(t, used[k], "%s is a text without place", k)
	}
}

// TestTrouble holds that every code has words.
func TestTrouble(t *testing.T) {
	source, err := os.ReadFile("../job/errors.go")
	require.NoError(t, err)
	codes := regexp.MustCompile(`Code\w+\s+(?:Code )?= "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(codes), 20)
	have := map[string]bool{}
	for _, c := range codes {
		have["trouble."+c[1]] = true
		for _, l := range text.Langs {
			assert.NotContains(t, text.Get(l, text.Key("trouble."+c[1])), "<trouble.", c[1])
		}
	}
	for k := range text.Table(text.English, "trouble.") {
		assert.True(t, have[string(k)] || k == "trouble.title", "%s is no code", k)
	}
}
