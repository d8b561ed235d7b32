package gate

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// freeRange finds three ports in a row that are free now.
func freeRange(t *testing.T) int {
	t.Helper()
	for range 50 {
		l, err := Listen(t.Context(), 0, 0)
		require.NoError(t, err)
		first := l.Port
		require.NoError(t, l.Close())
		ok := first+2 < 65536
		for i := 0; ok && i < 3; i++ {
			p, err := Listen(t.Context(), first+i, first+i)
			if ok = err == nil; ok {
				require.NoError(t, p.Close())
			}
		}
		if ok {
			return first
		}
	}
	require.Fail(t, "no three free ports in a row")
	return 0
}

func TestListenTakesTheNextPort(t *testing.T) {
	first := freeRange(t)
	squat4, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(first))
	require.NoError(t, err)
	defer func() { _ = squat4.Close() }()

	l, err := Listen(t.Context(), first, first+2)
	require.NoError(t, err)
	assert.Equal(t, first+1, l.Port, "taken on 127.0.0.1")
	require.NoError(t, l.Close())

	if l.NoIPv6 == nil {
		squat6, err := net.Listen("tcp6", "[::1]:"+strconv.Itoa(first+1))
		require.NoError(t, err)
		defer func() { _ = squat6.Close() }()
		l, err = Listen(t.Context(), first, first+2)
		require.NoError(t, err)
		assert.Equal(t, first+2, l.Port, "taken on [::1]")
		require.NoError(t, l.Close())
	}
	_, err = Listen(t.Context(), first, first)
	assert.ErrorIs(t, err, ErrNoPort)
}

func TestListenOnLoopbackOnly(t *testing.T) {
	l, err := Listen(t.Context(), 0, 0)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	for _, ln := range l.all {
		a := ln.Addr().(*net.TCPAddr)
		assert.True(t, a.IP.IsLoopback())
		assert.Equal(t, l.Port, a.Port)
		_, err := net.Listen("tcp", a.String())
		assert.Error(t, err, "nobody binds over it")
	}
	if l.NoIPv6 == nil {
		assert.Len(t, l.all, 2)
	}
}
