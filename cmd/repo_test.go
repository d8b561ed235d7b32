// Package cmd_test holds the house to its plan: which package may import
// which, on every system, and that each says what it is.
package cmd_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	Imports    []string
	Deps       []string
	GoFiles    []string
	CgoFiles   []string
}

func list(t *testing.T, goos string) []pkg {
	c := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Dir,Doc,Imports,Deps,GoFiles,CgoFiles,Standard", "./...")
	c.Dir = ".."
	c.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=1")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	var ps []pkg
	for dec := json.NewDecoder(out); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if strings.HasPrefix(p.ImportPath, "tanba/") {
			ps = append(ps, p)
		}
	}
	require.NoError(t, c.Wait())
	require.Greater(t, len(ps), 20, "the list of packages is there")
	return ps
}

// within reports whether p is one of the folders or below it.
func within(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return p == f || strings.HasPrefix(p, f+"/") })
}

// room is the first two parts of a path: agent/gate of agent/gate/x.
func room(p string) string {
	parts := strings.SplitN(p, "/", 3)
	return path.Join(parts[:min(2, len(parts))]...)
}

// mayImport says whether from may import to; both are paths in the module.
func mayImport(from, to string) bool {
	if room(from) == room(to) && room(from) != "tokens" {
		return true
	}
	switch {
	case from == "cmd/tanba":
		return within(to, "agent", "tokens", "crypto")
	case from == "cmd/tokenhost":
		return within(to, "tokens/wire", "tokens/pkcs11") || to == "tokens"
	case within(from, "cmd/demo"):
		return within(to, "testcerts", "crypto", "agent/native/js")
	case within(from, "agent"):
		return within(to, "agent/job", "agent/policy", "agent/sites", "agent/text", "agent/pages", "crypto") || to == "tokens"
	case from == "tokens/tokentest" && within(to, "testcerts"):
		return true // for tests alone, which is checked below
	case within(from, "tokens"):
		return to == "tokens" || to == "tokens/wire" || within(to, "crypto")
	case within(from, "testcerts"):
		return within(to, "crypto", "testcerts")
	case within(from, "crypto"):
		return within(to, "crypto")
	}
	return false
}

func TestImportsPointOneWay(t *testing.T) {
	for _, goos := range []string{"linux", "windows", "darwin"} {
		t.Run(goos, func(t *testing.T) {
			t.Parallel()
			for _, p := range list(t, goos) {
				from := strings.TrimPrefix(p.ImportPath, "tanba/")
				for _, i := range p.Imports {
					if to, ours := strings.CutPrefix(i, "tanba/"); ours {
						assert.True(t, mayImport(from, to), "%s imports %s", from, to)
						continue
					}
					first, _, _ := strings.Cut(i, "/")
					if within(from, "crypto") && strings.Contains(first, ".") {
						assert.True(t, within(i, "golang.org/x/crypto", "filippo.io/bigmod", "github.com/go-fonts"), "%s imports %s", from, i)
					}
				}
				if len(p.CgoFiles) > 0 || slices.Contains(p.Imports, "C") || slices.Contains(p.Imports, "github.com/miekg/pkcs11") {
					assert.True(t, within(from, "cmd/tokenhost", "tokens/pkcs11"), "%s uses cgo", from)
				}
				if from == "cmd/tanba" {
					assert.NotContains(t, p.Deps, "github.com/miekg/pkcs11")
					assert.NotContains(t, p.Deps, "tanba/tokens/pkcs11")
				}
				if from == "cmd/tanba" || from == "cmd/tokenhost" {
					for _, d := range p.Deps {
						assert.False(t, within(d, "tanba/testcerts", "tanba/tokens/tokentest", "github.com/stretchr/testify", "testing"), "%s links %s, which is for tests", from, d)
					}
				}
			}
		})
	}
}

func TestEachPackageSaysWhatItIs(t *testing.T) {
	for _, p := range list(t, "linux") {
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue
		}
		assert.NotEmpty(t, p.Doc, "%s has no package comment", p.ImportPath)
		comments := 0
		for _, f := range append(p.GoFiles, p.CgoFiles...) {
			src, err := os.ReadFile(path.Join(p.Dir, f))
			require.NoError(t, err)
			before, _, _ := strings.Cut("\n"+string(src), "\npackage ")
			if strings.Contains(before, "\n// Package ") || strings.Contains(before, "\n// Command ") {
				comments++
			}
		}
		assert.Equal(t, 1, comments, "package comments of %s", p.ImportPath)
	}
}
