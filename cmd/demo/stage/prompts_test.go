//go:build !windows

package stage

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPromptsAreCaught(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here") // a quote and a space
	require.NoError(t, os.MkdirAll(dir, 0o700))
	p, err := catchPrompts(dir, filepath.Join(dir, "file"))
	require.NoError(t, err)
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = p.Next(short)
	require.ErrorIs(t, err, ErrNoPrompt)

	for _, a := range []string{"http://127.0.0.1:1/#$(id)`id`", "http://127.0.0.1:2/'%s\\n'"} {
		require.NoError(t, exec.Command(filepath.Join(dir, openers[0]), a).Run())
	}
	n, err := p.Waiting()
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	for _, want := range []string{"http://127.0.0.1:1/#$(id)`id`", "http://127.0.0.1:2/'%s\\n'"} {
		got, err := p.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	st, err := os.Stat(filepath.Join(dir, "file"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
}

func TestPromptsArePassedOn(t *testing.T) {
	ours, theirs := t.TempDir(), t.TempDir()
	seen := filepath.Join(theirs, "seen")
	require.NoError(t, os.WriteFile(filepath.Join(theirs, openers[0]),
		[]byte("#!/bin/sh\necho \"$1|$XDG_CONFIG_HOME|${XDG_DATA_HOME-unset}\" > "+quote(seen)+"\n"), 0o700))
	t.Setenv("XDG_CONFIG_HOME", "/my own/config")
	require.NoError(t, os.Unsetenv("XDG_DATA_HOME"))
	require.NoError(t, passPrompts(ours, []string{theirs, "/usr/bin", "/bin"}))

	cmd := exec.Command(filepath.Join(ours, openers[0]), "http://127.0.0.1:1/#x")
	cmd.Env = []string{"PATH=" + ours + ":/usr/bin:/bin", "XDG_CONFIG_HOME=/demo", "XDG_DATA_HOME=/demo"}
	require.NoError(t, cmd.Run())
	got, err := os.ReadFile(seen)
	require.NoError(t, err)
	assert.Equal(t, "http://127.0.0.1:1/#x|/my own/config|unset\n", string(got), "the person's own browser and profile")
}

func TestLanguageOf(t *testing.T) {
	for lang, want := range map[string]string{"ru_RU.UTF-8": "ru", "kk_KZ": "kk", "en_GB.UTF-8": "en", "C": "", "": "", "de_DE": ""} {
		assert.Equal(t, want, LanguageOf(lang), lang)
	}
}

func TestFreePorts(t *testing.T) {
	first, last, err := FreePorts(3)
	require.NoError(t, err)
	assert.Equal(t, 2, last-first)
}
