package pages

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const address = "http://127.0.0.1:1/prompt/#secret"

func opener(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\n"+script), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func TestOpenSystem(t *testing.T) {
	dir := opener(t, `printf %s "$1" > "$(dirname "$0")/got"`)
	require.NoError(t, openSystem(t.Context(), address))
	got, err := os.ReadFile(filepath.Join(dir, "got"))
	require.NoError(t, err)
	assert.Equal(t, address, string(got), "the address as one argument, no shell")
}

func TestOpenSystemFails(t *testing.T) {
	opener(t, "exit 3")
	err := openSystem(t.Context(), address)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	t.Setenv("PATH", t.TempDir())
	err = openSystem(t.Context(), address)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

func TestOpenSystemStays(t *testing.T) {
	if testing.Short() {
		t.Skip("waits five seconds")
	}
	opener(t, "sleep 8")
	assert.NoError(t, openSystem(t.Context(), address), "an opener that becomes the browser")
}
