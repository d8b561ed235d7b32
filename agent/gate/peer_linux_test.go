package gate

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOwnConnections(t *testing.T) {
	p := SystemPeer()
	require.NoError(t, p.Supported())
	for _, network := range []string{"tcp4", "tcp6"} {
		host := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
		l, err := net.Listen(network, host)
		if network == "tcp6" && err != nil {
			continue // no IPv6 on this machine
		}
		require.NoError(t, err)
		c, err := net.Dial(network, l.Addr().String())
		require.NoError(t, err)
		local, remote := addrPort(l.Addr()), addrPort(c.LocalAddr())
		assert.NoError(t, p.Check(local, remote))
		assert.ErrorIs(t, p.Check(local, netip.AddrPortFrom(remote.Addr(), remote.Port()^1)), ErrPeer, "another port")
		assert.ErrorIs(t, p.Check(netip.AddrPortFrom(local.Addr(), local.Port()^1), remote), ErrPeer, "another connection of that port")
		require.NoError(t, c.Close())
		require.NoError(t, l.Close())
	}
	assert.ErrorIs(t, p.Check(netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:5000")), ErrPeer)
}

func TestIPv4OverAnIPv6Socket(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0)
	if err != nil {
		return // no IPv6 on this machine
	}
	defer func() { _ = syscall.Close(fd) }()
	to := &syscall.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port}
	copy(to.Addr[:], net.IPv4(127, 0, 0, 1).To16())
	require.NoError(t, syscall.Connect(fd, to))
	c, err := l.Accept()
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	assert.NoError(t, SystemPeer().Check(addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())))
}

func TestAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/bash", "-c",
		"exec 3<>/dev/tcp/127.0.0.1/"+strconv.Itoa(l.Addr().(*net.TCPAddr).Port)+"; read -r line <&3")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var out bytes.Buffer
	cmd.Stderr = &out
	require.NoError(t, cmd.Start())
	c, err := l.Accept()
	require.NoError(t, err)
	assert.ErrorIs(t, SystemPeer().Check(addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())), ErrPeer)
	_, err = c.Write([]byte("bye\n"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, cmd.Wait(), out.String())
}

func TestKernelTable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tcp")
	require.NoError(t, os.WriteFile(name, []byte(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:44F2 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0
   1: 0100007F:D431 0100007F:44F2 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
   2: 0100007F:D432 0100007F:44F2 01 00000000:00000000 00:00000000 00000000  1001        0 12 1 0 20 4 30 10 -1
   3: garbage
   4: ZZ00007F:D433 0100007F:44F2 01 00000000:00000000 00:00000000 00000000  1001        0 12 1 0 20 4 30 10 -1
`), 0o600))
	us := netip.MustParseAddrPort("127.0.0.1:17650")
	uid, ok, err := lookUp(name, netip.MustParseAddrPort("127.0.0.1:54322"), us)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, 1001, uid)
	_, ok, err = lookUp(name, netip.MustParseAddrPort("127.0.0.1:54321"), us)
	require.NoError(t, err)
	assert.False(t, ok, "a socket that is closing has no owner")
	_, ok, err = lookUp(name, us, netip.MustParseAddrPort("0.0.0.0:0"))
	require.NoError(t, err)
	assert.False(t, ok, "a listener is no connection")
}
