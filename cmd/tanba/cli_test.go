package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts"
	"tanba/tokens/tokentest"
)

// built is a folder with tanba and tokenhost side by side, made once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tanba-cli-*")
	if err != nil {
		return "", err
	}
	for _, p := range []struct{ pkg, cgo string }{{"tanba/cmd/tanba", "0"}, {"tanba/cmd/tokenhost", "1"}} {
		c := exec.Command("go", "build", "-o", dir+"/", p.pkg)
		c.Env = append(os.Environ(), "CGO_ENABLED="+p.cgo)
		if out, err := c.CombinedOutput(); err != nil {
			return "", &exec.Error{Name: string(out), Err: err}
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// A machine is one user's computer: folders, and what was installed.
type machine struct {
	t    *testing.T
	dir  string
	env  []string
	bins string
}

func newMachine(t *testing.T, env ...string) *machine {
	bins, err := built()
	require.NoError(t, err)
	m := &machine{t: t, dir: t.TempDir(), bins: bins}
	for _, v := range []string{"CONFIG", "DATA", "STATE", "RUNTIME"} {
		name := "XDG_" + v + "_HOME"
		if v == "RUNTIME" {
			name = "XDG_RUNTIME_DIR"
		}
		d := filepath.Join(m.dir, strings.ToLower(v))
		require.NoError(t, os.MkdirAll(d, 0o700))
		m.env = append(m.env, name+"="+d)
	}
	m.env = append(m.env, append(env, "PATH="+os.Getenv("PATH"), "HOME="+m.dir)...)
	return m
}

func (m *machine) settings(s string) {
	dir := filepath.Join(m.dir, "config", "tanba")
	require.NoError(m.t, os.MkdirAll(dir, 0o700))
	require.NoError(m.t, os.WriteFile(filepath.Join(dir, "config.toml"), []byte(s), 0o600))
}

// run runs tanba and returns what it printed and its status.
func (m *machine) run(stdin string, args ...string) (out, errOut string, status int) {
	m.t.Helper()
	c := exec.CommandContext(m.t.Context(), filepath.Join(m.bins, "tanba"), args...)
	c.Env, c.Dir, c.Stdin = m.env, m.dir, strings.NewReader(stdin)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	err := c.Run()
	if _, isExit := err.(*exec.ExitError); !isExit {
		require.NoError(m.t, err)
	}
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

func (m *machine) write(name string, b []byte) string {
	p := filepath.Join(m.dir, name)
	require.NoError(m.t, os.WriteFile(p, b, 0o600))
	return p
}

func TestVersionAndUsage(t *testing.T) {
	m := newMachine(t)
	out, _, status := m.run("", "version")
	assert.Equal(t, "tanba "+Version+"\n", out)
	assert.Zero(t, status)
	for _, args := range [][]string{{"sign"}, {"sign", os.Args[0]}, {"nonsense"}, {"verify", "/nowhere"}, {"verify", "--revocation", "perhaps", os.Args[0]}, {"--config", "/nowhere", "tokens"}} {
		_, errOut, status := m.run("", args...)
		assert.Equal(t, 2, status, args)
		assert.NotEmpty(t, errOut, args)
	}
	_, _, status = m.run("", "--help")
	assert.Zero(t, status)
}

func TestSettingsThatAreWrongAreRefused(t *testing.T) {
	m := newMachine(t)
	for _, s := range []string{"unknown = 1", "allowed_sites = [\"https://crm.test/path\"]", "port_first = 80", "[limits]\nframe = 0", "language = \"de\"", "not toml"} {
		m.settings(s)
		_, errOut, status := m.run("", "tokens")
		assert.Equal(t, 1, status, s)
		assert.Equal(t, 1, strings.Count(errOut, "\n"), "one line: %q", errOut)
	}
}

func TestSignAndVerifyWithAToken(t *testing.T) {
	bed := tokentest.SoftHSM(t)
	m := newMachine(t, bed.Env...)
	m.settings("find_modules = false\nmodules = [\"" + bed.Module + "\"]\n")
	out, errOut, status := m.run("", "tokens")
	require.Zero(t, status, errOut)
	assert.Contains(t, out, bed.Label)
	out, _, _ = m.run("", "tokens", "--json")
	var listed struct {
		Tokens []struct {
			Label      string
			Identities []struct{ Label, Name string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &listed))
	require.NotEmpty(t, listed.Tokens)
	require.NotEmpty(t, listed.Tokens[0].Identities)

	data := m.write("act.txt", []byte("акт\n"))
	root := m.write("root.der", bed.PKI.CA.Raw)
	for _, i := range listed.Tokens[0].Identities {
		key := "pkcs11:token=" + bed.Label + ";object=" + strings.ReplaceAll(i.Label, " ", "%20")
		out, errOut, status := m.run(bed.PIN+"\n", "sign", data, "--key", key, "--pin-file", "-")
		require.Zero(t, status, errOut)
		assert.Equal(t, data+".p7s\n", out)
		out, errOut, status = m.run("", "verify", data+".p7s", "--trust", root, "--revocation", "skip")
		require.Zero(t, status, out+errOut)
		assert.Contains(t, out, "TOTAL-PASSED")
		_, errOut, status = m.run(bed.PIN+"\n", "sign", data, "--key", key, "--pin-file", "-")
		assert.Equal(t, 1, status, "an output is not overwritten")
		assert.Contains(t, errOut, "--force")

		require.NoError(t, os.WriteFile(data, []byte("акт.\n"), 0o600))
		out, _, status = m.run("", "verify", data+".p7s", "--trust", root, "--revocation", "skip")
		assert.Equal(t, 1, status)
		assert.Contains(t, out, "TOTAL-FAILED HASH_FAILURE")
		require.NoError(t, os.WriteFile(data, []byte("акт\n"), 0o600))
		require.NoError(t, os.Remove(data+".p7s"))
	}
	_, errOut, status = m.run("9999\n", "sign", data, "--key", "pkcs11:token="+bed.Label+";object="+listed.Tokens[0].Identities[0].Label, "--pin-file", "-")
	assert.Equal(t, 1, status)
	assert.Contains(t, errOut, "PIN")
	_, errOut, status = m.run(bed.PIN+"\n", "sign", data, "--key", "pkcs11:token=OTHER", "--pin-file", "-")
	assert.Equal(t, 1, status)
	assert.Contains(t, errOut, bed.Label, "what is there is said")
	_, _, status = m.run(bed.PIN+"\n", "sign", data, "--key", "pkcs11:id=%01", "--pin-file", "-")
	assert.Equal(t, 2, status)
}

func TestSignWithAFile(t *testing.T) {
	pki, err := testcerts.New(testcerts.Options{Now: time.Now()})
	require.NoError(t, err)
	leaf, err := pki.Issue(testcerts.LeafSpec{Name: "Файлов Файл", Kind: testcerts.P256})
	require.NoError(t, err)
	p12, err := leaf.PKCS12("пароль")
	require.NoError(t, err)
	m := newMachine(t)
	key, pin := m.write("key.p12", p12), m.write("pin", []byte("пароль\r\n"))
	root := m.write("root.pem", []byte(pki.Root.Certificate.PEM()))
	data := m.write("a.bin", bytes.Repeat([]byte{0, 1, 2}, 1<<20))
	out, errOut, status := m.run("", "sign", data, "--attached", "--key", key, "--pin-file", pin, "--out", filepath.Join(m.dir, "out.p7m"), "--json")
	require.Zero(t, status, errOut)
	assert.Contains(t, out, leaf.Certificate.Fingerprint())
	out, _, status = m.run("", "verify", filepath.Join(m.dir, "out.p7m"), "--trust", root)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "INDETERMINATE TRY_LATER", "revocation is required unless told otherwise")
	out, _, status = m.run("", "verify", filepath.Join(m.dir, "out.p7m"), "--trust", root, "--revocation", "skip", "--json")
	assert.Zero(t, status)
	assert.Contains(t, out, `"indication": "TOTAL-PASSED"`)
	_, errOut, status = m.run("wrong\n", "sign", data, "--key", key, "--pin-file", "-")
	assert.Equal(t, 1, status)
	assert.Contains(t, errOut, "PIN")
	entries, err := os.ReadDir(filepath.Join(m.dir, "data", "tanba"))
	require.NoError(t, err)
	assert.Empty(t, entries, "no copy is left behind")
}
