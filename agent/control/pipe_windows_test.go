package control

import (
	"strings"
	"testing"
)

// testPath is a pipe of the test's own.
func testPath(t *testing.T) string {
	t.Helper()
	return DefaultPath() + "-test-" + strings.ReplaceAll(t.Name(), "/", "-")
}
