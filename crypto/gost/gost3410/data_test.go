package gost3410

import (
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testData returns the path of a file of the test data, or skips the test.
func testData(t testing.TB, name ...string) string {
	t.Helper()
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("TANBA_REQUIRE_DATA") == "1" {
			t.Fatalf("no test data: %v", err)
		}
		t.Skipf("no test data in %s: set TANBA_TESTDATA", dir)
	}
	return filepath.Join(append([]string{dir}, name...)...)
}

func readJSON(t testing.TB, v any, name ...string) {
	t.Helper()
	b, err := os.ReadFile(testData(t, name...))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, v))
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// be reads a hexadecimal number with or without 0x as size bytes, big-endian.
func be(t testing.TB, s string, size int) []byte {
	t.Helper()
	n, ok := new(big.Int).SetString(strings.TrimPrefix(s, "0x"), 16)
	require.True(t, ok, s)
	return n.FillBytes(make([]byte, size))
}
