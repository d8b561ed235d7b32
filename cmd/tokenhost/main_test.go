package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/tokens"
	"tanba/tokens/tokentest"
	"tanba/tokens/wire"
)

// spiteful is a library that does before anything else what DO says.
const spiteful = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((visibility("default"))) unsigned long C_GetFunctionList(void **list) {
	DO;
	*list = NULL;
	return 5;
}
`

func library(t *testing.T, do string) string {
	t.Helper()
	dir := t.TempDir()
	src, so := filepath.Join(dir, "spiteful.c"), filepath.Join(dir, "spiteful.so")
	require.NoError(t, os.WriteFile(src, []byte(spiteful), 0o600))
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-DDO="+do, "-o", so, src).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return so
}

// host is a running token process.
type host struct {
	cmd    *exec.Cmd
	in     *os.File
	out    *wire.Reader
	stderr bytes.Buffer
	done   chan error
}

func start(t *testing.T, env []string, args ...string) *host {
	t.Helper()
	h := &host{cmd: exec.Command(tokentest.BuildHost(t), args...), done: make(chan error, 1)}
	inR, inW, err := os.Pipe()
	require.NoError(t, err)
	outR, outW, err := os.Pipe()
	require.NoError(t, err)
	h.cmd.Env = append(os.Environ(), env...)
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = inR, outW, &h.stderr
	require.NoError(t, h.cmd.Start())
	_, _ = inR.Close(), outW.Close()
	h.in, h.out = inW, wire.NewReader(outR)
	t.Cleanup(func() {
		_ = h.cmd.Process.Kill()
		_, _ = inW.Close(), outR.Close()
	})
	go func() { h.done <- h.cmd.Wait() }()
	return h
}

func (h *host) ends(t *testing.T) error {
	t.Helper()
	select {
	case err := <-h.done:
		return err
	case <-time.After(10 * time.Second):
		require.Fail(t, "the process did not end")
		return nil
	}
}

func TestUsage(t *testing.T) {
	assert.Error(t, run(context.Background(), nil))
	assert.Error(t, run(context.Background(), []string{"a", "b"}))
}

func TestReadyAndEnd(t *testing.T) {
	b := tokentest.EmptySoftHSM(t)
	h := start(t, b.Env, b.Module)
	var r wire.Reply
	_, err := h.out.Read(&r)
	require.NoError(t, err)
	assert.Equal(t, wire.Reply{Ready: true}, r)
	require.NoError(t, h.in.Close())
	assert.NoError(t, h.ends(t), "ends with its input")
}

func TestEndsWithBadInput(t *testing.T) {
	b := tokentest.EmptySoftHSM(t)
	h := start(t, b.Env, b.Module)
	_, err := h.out.Read(&wire.Reply{})
	require.NoError(t, err)
	_, err = h.in.WriteString("\xff\xff\xff\xffGET / HTTP/1.1\r\n")
	require.NoError(t, err)
	assert.Error(t, h.ends(t))
}

func TestRelativePathRefused(t *testing.T) {
	h := start(t, nil, "libsofthsm2.so")
	var r wire.Reply
	_, err := h.out.Read(&r)
	require.NoError(t, err)
	assert.ErrorIs(t, r.Error.Err(), tokens.ErrLibrary)
	assert.Error(t, h.ends(t))
}

func TestLibraryThatPrints(t *testing.T) {
	h := start(t, nil, library(t, `printf("hello from the vendor\n");fflush(stdout);write(1,"and more\n",9)`))
	var r wire.Reply
	_, err := h.out.Read(&r)
	require.NoError(t, err, "what the library prints is not on the wire")
	assert.ErrorIs(t, r.Error.Err(), tokens.ErrLibrary)
	assert.Error(t, h.ends(t))
	assert.Contains(t, h.stderr.String(), "hello from the vendor")
	assert.Contains(t, h.stderr.String(), "and more")
}

func TestLibraryThatHangsDoesNotKeepUs(t *testing.T) {
	h := start(t, nil, library(t, `for(;;)pause()`))
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, h.in.Close())
	assert.Error(t, h.ends(t))
}

func TestLibraryThatCrashes(t *testing.T) {
	for _, do := range []string{"abort()", "*(volatile int*)0=1", "exit(0)"} {
		h := start(t, nil, library(t, do))
		_, err := h.out.Read(&wire.Reply{})
		assert.Error(t, err)
		_ = h.ends(t)
	}
}
