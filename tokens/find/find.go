// Package find knows where the PKCS#11 libraries of token vendors are
// installed on each system.
package find

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

var errRelative = errors.New("not an absolute path")

// Libraries returns the libraries that are installed, as absolute paths with
// symbolic links resolved, each once: those of the built-in list, then those
// of the system's own list (p11-kit's on Linux). A library in a folder that the
// user could write to is left out and reported in refused.
func Libraries() (found []string, refused []error) {
	patterns, refused := listed()
	expanded := make([]string, 0, len(known))
	for _, k := range known {
		expanded = append(expanded, os.ExpandEnv(k))
	}
	found, untrusted := installed(append(expanded, patterns...))
	return found, append(refused, untrusted...)
}

// installed returns the files that fit the patterns and can be trusted.
func installed(patterns []string) (found []string, refused []error) {
	seen := map[string]bool{}
	for _, pattern := range patterns {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, m := range matches {
			real, err := filepath.EvalSymlinks(m)
			if err != nil || seen[real] {
				continue
			}
			seen[real] = true
			if err := Trusted(real); err != nil {
				refused = append(refused, fmt.Errorf("library %s: %w", real, err))
				continue
			}
			found = append(found, real)
		}
	}
	return found, refused
}
