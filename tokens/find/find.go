// Package find knows where the PKCS#11 libraries of token vendors are
// installed on each system.
package find

import (
	"fmt"
	"os"
	"path/filepath"
)

// Libraries returns the libraries of the built-in list that are installed, as
// absolute paths with symbolic links resolved, each once. A library in a folder
// that the user could write to is left out and reported in refused.
func Libraries() (found []string, refused []error) {
	seen := map[string]bool{}
	for _, pattern := range known {
		matches, err := filepath.Glob(os.ExpandEnv(pattern))
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
