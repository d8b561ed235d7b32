package tokentest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	hostOnce sync.Once
	hostPath string
	hostErr  error
	hostText string
)

// BuildHost builds cmd/tokenhost, once for each test binary, and returns its
// absolute path. It stays in the user's cache folder for the next run.
func BuildHost(t testing.TB) string {
	t.Helper()
	hostOnce.Do(buildHost)
	require.NoError(t, hostErr, "building cmd/tokenhost: %s", hostText)
	return hostPath
}

func buildHost() {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		hostErr = err
		return
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(mod)
	dir := filepath.Join(cache, "tanba-test", hex.EncodeToString(sum[:8]))
	if hostErr = os.MkdirAll(dir, 0o700); hostErr != nil {
		return
	}
	name := "tokenhost"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	// Other test binaries build at the same time: each its own, then a rename.
	tmp := filepath.Join(dir, strconv.Itoa(os.Getpid())+"-"+name)
	c := exec.Command("go", "build", "-o", tmp, "tanba/cmd/tokenhost")
	c.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	c.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := c.CombinedOutput()
	if err != nil {
		hostErr, hostText = err, string(out)
		return
	}
	hostPath = filepath.Join(dir, name)
	hostErr = os.Rename(tmp, hostPath)
}
