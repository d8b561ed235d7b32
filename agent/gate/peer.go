package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// A PeerChecker says whether a connection comes from a process of this user
// and session.
type PeerChecker interface {
	// Check reports why the process at remote, connected to our local address,
	// may not talk to us: ErrPeer or a failure of the system's tables.
	Check(local, remote netip.AddrPort) error
	// Supported is nil when Check looks at the process. Otherwise it says why
	// only the address is looked at on this system: to be logged at start and
	// shown by doctor.
	Supported() error
}

// ErrPeer: the connection is not from this computer, user and session.
var ErrPeer = errors.New("connection of another computer, user or session")

// ErrPeerUnsupported: which process is connected cannot be found out on this
// system.
var ErrPeerUnsupported = errors.New("unsupported: finding the process behind a connection")

// SystemPeer returns this system's check. The first call tries it on a
// connection of our own. Where the system should be able to and cannot
// (Linux, Windows), every Check fails, and Supported says why.
var SystemPeer = sync.OnceValue(func() PeerChecker {
	p := &systemPeer{}
	p.broken = trySelf(p.owner)
	return p
})

// systemPeer is the check of this system. owner is in a file per system: it
// returns nil when the connection from remote to local belongs to a process
// of our user and session.
type systemPeer struct{ broken error }

func (p *systemPeer) Supported() error { return p.broken }

func (p *systemPeer) Check(local, remote netip.AddrPort) error {
	local, remote = plain(local), plain(remote)
	if !local.Addr().IsLoopback() || !remote.Addr().IsLoopback() {
		return ErrPeer
	}
	if p.broken == nil {
		return p.owner(local, remote)
	}
	if addressIsEnough {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrPeer, p.broken)
}

// plain writes an IPv4 address in IPv6 clothes as IPv4, without a zone.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// trySelf reports whether owner recognises a connection of our own process.
func trySelf(owner func(local, remote netip.AddrPort) error) error {
	l, err := (&net.ListenConfig{Control: control}).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	c, err := new(net.Dialer).DialContext(context.Background(), "tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	s, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return owner(addrPort(s.LocalAddr()), addrPort(s.RemoteAddr()))
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return plain(t.AddrPort())
	}
	return netip.AddrPort{}
}

// checkPeer applies p to a request.
func checkPeer(p PeerChecker, r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || local == nil {
		return ErrPeer
	}
	return p.Check(addrPort(local), plain(remote))
}
