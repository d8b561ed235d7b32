// Package softtoken builds and fills a PKCS#11 module of our own, in C, that
// plays hardware tokens from a folder: RSA of 2048 to 4096 bits (CKM_RSA_PKCS,
// CKM_RSA_PKCS_PSS), P-256 and P-384 (CKM_ECDSA), a PIN and a PUK with counters,
// insertion and removal, and faults on demand.
//
// It is for the demo, trials and tests only: keys and PINs lie in the folder
// for everybody who can read it, and its arithmetic does not run in constant
// time. The folder's layout is in module/token.h, the faults in module/fault.c.
package softtoken

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed module/*.c module/*.h
var source embed.FS

// EnvDir names the environment variable by which the module finds the folder
// of its readers.
const EnvDir = "SOFTTOKEN_DIR"

// A MissingToolError reports that no C compiler was found.
type MissingToolError struct {
	// Tools are the programs looked for, any of which would do.
	Tools []string
	// Package is the Debian package that holds one.
	Package string
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("compiling the soft token: no %s in PATH (Debian package %s)", strings.Join(e.Tools, " or "), e.Package)
}

// Build compiles the module for this computer into dir and returns the
// library's path. It returns a *MissingToolError when there is no compiler.
func Build(dir string) (path string, err error) {
	return build(filepath.Join(dir, libraryName), "gcc", nativeCompilers, nativeFlags)
}

// BuildWindows compiles the module for 64-bit Windows into dir, with MinGW-w64,
// and returns the path of softtoken.dll.
func BuildWindows(dir string) (path string, err error) {
	return build(filepath.Join(dir, "softtoken.dll"), "gcc-mingw-w64-x86-64", []string{"x86_64-w64-mingw32-gcc"}, windowsFlags)
}

var (
	commonFlags  = []string{"-std=gnu11", "-O2", "-funroll-loops", "-Wall", "-Wextra"}
	windowsFlags = []string{"-shared", "-static-libgcc"}
	// windowsLibraries stand behind the sources, where the linker wants them.
	windowsLibraries = []string{"-ladvapi32"}
)

// buildTimeout bounds one run of the compiler.
const buildTimeout = 2 * time.Minute

func build(path, pkg string, compilers, flags []string) (string, error) {
	var cc string
	for _, name := range compilers {
		if p, err := exec.LookPath(name); err == nil {
			cc = p
			break
		}
	}
	if cc == "" {
		return "", &MissingToolError{Tools: compilers, Package: pkg}
	}
	src, err := os.MkdirTemp(filepath.Dir(path), "softtoken-src-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(src) }()
	files, err := writeSource(src)
	if err != nil {
		return "", err
	}
	out := filepath.Join(src, filepath.Base(path))
	args := append(append([]string{}, commonFlags...), flags...)
	args = append(append(args, "-o", out), files...)
	if filepath.Ext(path) == ".dll" {
		args = append(args, windowsLibraries...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	if msg, err := exec.CommandContext(ctx, cc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling the soft token with %s: %w\n%s", cc, err, msg)
	}
	if err := os.Rename(out, path); err != nil {
		return "", err
	}
	return path, nil
}

// writeSource writes the module's files into dir and returns the paths of
// those to compile.
func writeSource(dir string) ([]string, error) {
	var files []string
	entries, err := fs.ReadDir(source, "module")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b, err := source.ReadFile("module/" + e.Name())
		if err != nil {
			return nil, err
		}
		p := filepath.Join(dir, e.Name())
		if err := os.WriteFile(p, b, 0o600); err != nil {
			return nil, err
		}
		if filepath.Ext(p) == ".c" {
			files = append(files, p)
		}
	}
	if len(files) == 0 {
		return nil, errors.New("compiling the soft token: no source embedded")
	}
	return files, nil
}
