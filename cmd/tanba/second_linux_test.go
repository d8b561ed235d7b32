package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/control"
	"tanba/agent/job"
)

// A second start whose page cannot be shown says that there is a first one.
func TestSecondStartWithoutABrowser(t *testing.T) {
	dir, err := os.MkdirTemp("", "tanba-") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, v := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(v, filepath.Join(dir, strings.ToLower(v)))
	}
	l, err := control.Listen(control.DefaultPath())
	require.NoError(t, err)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- control.Serve(ctx, l, func(_ context.Context, cmd string, _ json.RawMessage) (any, error) {
			assert.Equal(t, "show", cmd)
			return nil, job.Fail(job.CodeNoBrowser, "", nil)
		})
	}()
	var out bytes.Buffer
	err = run(ctx, []string{"--headless"}, strings.NewReader(""), &out, &out)
	require.Error(t, err)
	assert.Equal(t, 1, exitStatus(&out, err))
	assert.Contains(t, out.String(), "running already")
	stop()
	require.NoError(t, <-served)
}
