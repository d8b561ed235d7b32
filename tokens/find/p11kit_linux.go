package find

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Where p11-kit keeps its list of modules, the administrator's first, and
// where a module without a path lies (p11-kit's pkcs11.conf(5); the folders
// are those of Debian and Fedora).
var (
	p11kitLists   = []string{"/etc/pkcs11/modules", "/usr/share/p11-kit/modules", "/usr/lib/p11-kit/modules"}
	p11kitFolders = []string{"/usr/lib/*-linux-gnu/pkcs11", "/usr/lib64/pkcs11", "/usr/lib/pkcs11"}
)

// maxModule bounds a .module file, in bytes.
const maxModule = 64 << 10

// listed returns the libraries that the system's own list names. A file of
// the administrator hides the distribution's of the same name.
func listed() (paths []string, refused []error) {
	seen := map[string]bool{}
	for _, dir := range p11kitLists {
		files, err := filepath.Glob(filepath.Join(dir, "*.module"))
		if err != nil {
			continue
		}
		for _, f := range files {
			if seen[filepath.Base(f)] {
				continue
			}
			seen[filepath.Base(f)] = true
			m, err := readModule(f)
			if err != nil {
				refused = append(refused, err)
				continue
			}
			paths = append(paths, m...)
		}
	}
	return paths, refused
}

// readModule returns what the "module" line of a .module file names, nothing
// for p11-kit's own modules, which hold no keys, and for disabled ones. The
// file itself must be the administrator's.
func readModule(path string) ([]string, error) {
	if err := Trusted(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var module string
	lines := bufio.NewScanner(io.LimitReader(f, maxModule))
	for lines.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "module":
			module = value
		case "enable-in", "disable-in":
			return nil, nil // meant for certain programs, of which we are none
		case "remote":
			return nil, nil
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, errors.Join(lines.Err(), errors.New(path))
	case module == "" || strings.HasPrefix(filepath.Base(module), "p11-kit-"):
		return nil, nil
	case filepath.IsAbs(module):
		return []string{module}, nil
	case module != filepath.Base(module):
		return nil, errors.New(path + ": module is neither a name nor an absolute path")
	}
	var out []string
	for _, dir := range p11kitFolders {
		out = append(out, filepath.Join(dir, module))
	}
	return slices.Clip(out), nil
}
