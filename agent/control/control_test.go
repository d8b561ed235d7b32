package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

// start serves h at a new path until the test ends.
func start(t *testing.T, h Handler) (path string, l *Listener) {
	t.Helper()
	path = testPath(t)
	l, err := Listen(path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return path, l
}

// echo answers with what it was asked.
func echo(_ context.Context, cmd string, args json.RawMessage) (any, error) {
	switch cmd {
	case "fail":
		return nil, errors.New("no such thing")
	case "code":
		return nil, job.Fail(job.CodeUnknownJob, "", nil)
	case "nothing":
		return nil, nil
	}
	return map[string]string{"cmd": cmd, "args": string(args)}, nil
}

func TestCall(t *testing.T) {
	path, _ := start(t, echo)
	var got map[string]string
	require.NoError(t, Call(t.Context(), path, "status", nil, &got))
	assert.Equal(t, map[string]string{"cmd": "status", "args": ""}, got)
	require.NoError(t, Call(t.Context(), path, "outbox.retry", map[string]string{"id": "17"}, &got))
	assert.Equal(t, map[string]string{"cmd": "outbox.retry", "args": `{"id":"17"}`}, got)
	require.NoError(t, Call(t.Context(), path, "nothing", nil, nil))
	var e *Error
	require.ErrorAs(t, Call(t.Context(), path, "fail", nil, nil), &e)
	assert.Equal(t, Error{Message: "no such thing"}, *e)
	require.ErrorAs(t, Call(t.Context(), path, "code", nil, nil), &e)
	assert.Equal(t, job.CodeUnknownJob, e.Code)
	require.Error(t, Call(t.Context(), path, "x", map[string]string{"a": strings.Repeat("a", maxRequest)}, nil))
	for i := range 100 {
		require.NoError(t, Call(t.Context(), path, fmt.Sprint(i), nil, &got))
		assert.Equal(t, fmt.Sprint(i), got["cmd"])
	}
}

func TestNobodyThere(t *testing.T) {
	path := testPath(t)
	require.ErrorIs(t, Call(t.Context(), path, "status", nil, nil), ErrNoAgent)
	l, err := Listen(path)
	require.NoError(t, err)
	_, err = Listen(path)
	require.ErrorIs(t, err, ErrRunning)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	require.ErrorIs(t, Serve(t.Context(), l, echo), net.ErrClosed)
	require.ErrorIs(t, Call(t.Context(), path, "status", nil, nil), ErrNoAgent)
	l, err = Listen(path)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = Listen("")
	require.Error(t, err)
	_, err = Listen("relative")
	require.Error(t, err)
}

// TestBadRequests sends raw lines and expects the agent to stay alive.
func TestBadRequests(t *testing.T) {
	path, _ := start(t, echo)
	bad := map[string]string{
		"empty": "", "not JSON": "hello", "array": "[]", "string": `"status"`, "no cmd": `{}`, "empty cmd": `{"cmd":""}`,
		"number": `{"cmd":1}`, "unknown key": `{"cmd":"a","x":1}`, "key twice": `{"cmd":"a","cmd":"b"}`, "args twice": `{"cmd":"a","args":{},"args":{}}`,
		"args no object": `{"cmd":"a","args":[]}`, "args null": `{"cmd":"a","args":null}`, "two": `{"cmd":"a"}{"cmd":"b"}`, "open": `{"cmd":"a"`, "case": `{"CMD":"a"}`,
		"deep": `{"cmd":"a","args":` + strings.Repeat("[", 20000) + `}`,
		"long": `{"cmd":"` + strings.Repeat("a", maxRequest) + `"}`,
	}
	for name, line := range bad {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(t.Context(), path)
			require.NoError(t, err)
			defer c.Close()
			go func() { _, _ = io.WriteString(c, line+"\n") }()
			data, err := readLine(c, maxReply)
			require.NoError(t, err)
			var r reply
			require.NoError(t, json.Unmarshal(data, &r))
			require.NotNil(t, r.Error)
			assert.Nil(t, r.Result)
		})
	}
	require.NoError(t, Call(t.Context(), path, "status", nil, nil))
}

func TestSilentPeersDoNotBlock(t *testing.T) {
	path, _ := start(t, echo)
	for range atOnce - 1 {
		c, err := Dial(t.Context(), path)
		require.NoError(t, err)
		defer c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	require.NoError(t, Call(ctx, path, "status", nil, nil))
}

func TestSilentPeerIsCutOff(t *testing.T) {
	path, _ := start(t, echo)
	c, err := Dial(t.Context(), path)
	require.NoError(t, err)
	defer c.Close()
	begin := time.Now()
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	assert.Less(t, time.Since(begin), 2*readTime)
}

func TestCallEndsWithContext(t *testing.T) {
	path, _ := start(t, func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, Call(ctx, path, "slow", nil, nil), context.DeadlineExceeded)
}

func TestQuitIsAnswered(t *testing.T) {
	path := testPath(t)
	l, err := Listen(path)
	require.NoError(t, err)
	ctx, quit := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, func(context.Context, string, json.RawMessage) (any, error) {
			quit()
			return nil, nil
		})
	}()
	require.NoError(t, Call(t.Context(), path, "quit", nil, nil), "the one who asks hears of it")
	require.NoError(t, <-done)
	require.ErrorIs(t, Call(t.Context(), path, "status", nil, nil), ErrNoAgent)
}

func TestDefaultPath(t *testing.T) {
	assert.NotEmpty(t, DefaultPath())
	assert.True(t, filepath.IsAbs(DefaultPath()) || strings.HasPrefix(DefaultPath(), `\\.\pipe\`))
}
