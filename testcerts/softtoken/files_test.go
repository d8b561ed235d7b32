package softtoken_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts"
	"tanba/testcerts/softtoken"
)

func TestMalformedFiles(t *testing.T) {
	b := newBed(t, testcerts.RSA2048, testcerts.P256)
	reader := filepath.Join(b.dir, "Reader 01")
	rsaKey, err := os.ReadFile(filepath.Join(reader, "obj001.key"))
	require.NoError(t, err)
	ecKey, err := os.ReadFile(filepath.Join(reader, "obj002.key"))
	require.NoError(t, err)
	crt, err := os.ReadFile(filepath.Join(reader, "obj001.crt"))
	require.NoError(t, err)
	p := b.probe(t)
	bad := func(name string, content []byte) {
		t.Helper()
		path := filepath.Join(reader, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		assert.Equal(t, "30 0", p.call("open 0"), "%s: %.40q", name, content)
		require.NoError(t, os.Remove(path))
	}
	line := func(key []byte, name, value string) []byte {
		before, rest, ok := strings.Cut("\n"+string(key), "\n"+name+"=")
		require.True(t, ok)
		_, after, _ := strings.Cut(rest, "\n")
		return []byte(before + "\n" + name + "=" + value + "\n" + after)
	}
	for _, n := range []int{0, 1, 2, 5, 100, len(crt) - 1} {
		bad("x.crt", crt[:n])
	}
	bad("x.crt", append(crt[:len(crt):len(crt)], 0))
	bad("x.crt", make([]byte, 1<<16+1))
	bad("x.crt", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	bad("x.crt", []byte{0x30, 0x83, 0xff, 0xff, 0xff})
	bad("x.key", nil)
	bad("x.key", []byte("type=dsa\nid=01\nlabel=x\n"))
	bad("x.key", rsaKey[:len(rsaKey)/2])
	bad("x.key", append([]byte{0}, rsaKey...))
	bad("x.key", make([]byte, 1<<15))
	for _, name := range []string{"n", "p", "q"} {
		bad("x.key", line(rsaKey, name, "10"))
		bad("x.key", line(rsaKey, name, ""))
		bad("x.key", line(rsaKey, name, "0g"))
		bad("x.key", line(rsaKey, name, strings.Repeat("ff", 513)))
	}
	bad("x.key", line(rsaKey, "qinv", strings.Repeat("ff", 128)))
	bad("x.key", line(rsaKey, "id", strings.Repeat("00", 129)))
	bad("x.key", line(rsaKey, "label", strings.Repeat("x", 256)))
	bad("x.key", line(ecKey, "curve", "p-521"))
	bad("x.key", line(ecKey, "d", "00"))
	bad("x.key", line(ecKey, "d", strings.Repeat("ff", 32)))
	bad("x.key", line(ecKey, "x", strings.Repeat("11", 32)))
	bad("x.key", line(ecKey, "x", strings.Repeat("11", 31)))
	bad("obj001.id", []byte("id=0\nlabel=x\n"))

	// A wrong half of an RSA key gives an error, no signature.
	require.NoError(t, os.WriteFile(filepath.Join(reader, "obj001.key"), line(rsaKey, "dp", "03"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(reader, "obj001.id"), []byte("id=0a01\nlabel=x\n"), 0o600))
	s := p.open(true)
	require.Equal(t, "0", p.call("signinit %s 1 %s 0 0 0", s, p.key(s, "0a01")))
	assert.Equal(t, "30 512", p.call("sign %s aa 512", s))
	assert.Equal(t, "0", p.call("close %s", s))

	s = p.open(false)
	require.NoError(t, os.WriteFile(filepath.Join(reader, "tries"), []byte("many"), 0o600))
	assert.Equal(t, "30", p.call("login %s 1 %s", s, pin))
	require.NoError(t, os.WriteFile(filepath.Join(reader, "tries"), []byte("4"), 0o600))
	assert.Equal(t, "30", p.call("login %s 1 %s", s, pin), "more tries than the PIN has")
	p.end()
}

func TestNoFolder(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), probeExe)
	cmd.Stdin = strings.NewReader("init\n")
	cmd.Env = []string{}
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "5\n", string(out), "SOFTTOKEN_DIR is not set")
	p := (&bed{dir: filepath.Join(t.TempDir(), "none")}).probe(t)
	assert.Equal(t, "0", p.call("slots 0"), "a folder that is not there holds no readers")
	p.end()
}

func TestRefusedTokens(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", ".", "..", "a/b", `a\b`, "Қ", strings.Repeat("x", 64)} {
		_, err := softtoken.Create(dir, name, softtoken.Info{PIN: pin})
		assert.Error(t, err, name)
	}
	for _, info := range []softtoken.Info{{PIN: "123"}, {PIN: pin, MaxPIN: 5}, {MaxPIN: 1000}, {Tries: -1}, {Label: "a\nb"}} {
		_, err := softtoken.Create(dir, fmt.Sprintf("r%d", len(info.Label)+info.Tries+info.MaxPIN+len(info.PIN)), info)
		assert.Error(t, err, "%+v", info)
	}
	r, err := softtoken.Create(dir, "good", softtoken.Info{PIN: pin})
	require.NoError(t, err)
	_, err = softtoken.Create(dir, "good", softtoken.Info{PIN: pin})
	assert.ErrorIs(t, err, os.ErrExist)
	_, err = softtoken.Open(dir, "good")
	assert.NoError(t, err)
	_, err = softtoken.Open(dir, "other")
	assert.ErrorIs(t, err, os.ErrNotExist)
	k, err := testcerts.NewKey(testcerts.P256)
	require.NoError(t, err)
	for _, o := range []softtoken.Object{{}, {Key: "x"}, {Key: k, Label: "a\nb"}, {Key: k, ID: make([]byte, 129)}, {Key: k, Label: strings.Repeat("x", 256)}} {
		assert.Error(t, r.Add(o))
	}
	left, err := filepath.Glob(filepath.Join(dir, "good", "obj*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestBuilds(t *testing.T) {
	dll, err := softtoken.BuildWindows(t.TempDir())
	require.NoError(t, err)
	out := run(t, "", nil, "x86_64-w64-mingw32-objdump", "-p", dll)
	assert.Contains(t, out, "C_GetFunctionList")
	for l := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(l), "DLL Name: "); ok {
			assert.Contains(t, []string{"ADVAPI32.dll", "KERNEL32.dll", "msvcrt.dll"}, name, "parts of Windows only")
		}
	}
	t.Setenv("PATH", t.TempDir())
	var missing *softtoken.MissingToolError
	_, err = softtoken.Build(t.TempDir())
	assert.ErrorAs(t, err, &missing)
	_, err = softtoken.BuildWindows(t.TempDir())
	assert.ErrorAs(t, err, &missing)
}
