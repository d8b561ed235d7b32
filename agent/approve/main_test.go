package approve

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.cancel != nil {
		browser.cancel()
	}
	os.Exit(code)
}

func mkdir() (string, error) { return os.MkdirTemp("", "tanba-prompt-") }

func rmdir(dir string) { _ = os.RemoveAll(dir) }
