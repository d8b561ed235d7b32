//go:build !linux

package tokentest

import "errors"

// pcscd is a card service of one test, for Linux alone.
type pcscd struct {
	addrs  [2]string
	socket string
}

func newPCSCD(string) (*pcscd, error) {
	return nil, errors.New("a card service of our own: not supported on this system")
}

func (*pcscd) start() error { return nil }
func (*pcscd) log() string  { return "" }
func (*pcscd) kill()        {}
