package softtoken_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts/softtoken"
)

const puk = "87654321"

// pinBed is a token with a PUK and no objects.
func pinBed(t *testing.T, change bool) *bed {
	t.Helper()
	b := &bed{dir: t.TempDir()}
	var err error
	b.r, err = softtoken.Create(b.dir, "r", softtoken.Info{Label: "x", PIN: pin, MinPIN: 6, MaxPIN: 12, PUK: puk, PUKTries: 3, ToBeChanged: change})
	require.NoError(t, err)
	return b
}

// openRW opens a read-write session on slot 0.
func (p *probe) openRW() string {
	p.t.Helper()
	rv, session, _ := strings.Cut(p.call("openrw 0"), " ")
	require.Equal(p.t, "0", rv, "C_OpenSession")
	return session
}

func (b *bed) pukTriesLeft(t *testing.T) int {
	t.Helper()
	n, err := b.r.PUKTriesLeft()
	require.NoError(t, err)
	return n
}

func TestSetPIN(t *testing.T) {
	b := pinBed(t, true)
	p := b.probe(t)
	ro := p.open(false)
	assert.Equal(t, "80008", p.pinFlags(), "to be changed")
	assert.Equal(t, "b5", p.call("setpin %s %s 654321", ro, pin), "read-only session")
	s := p.openRW()
	assert.Equal(t, "0 2", p.call("sessinfo %s", s))
	assert.Equal(t, "a0", p.call("setpin %s 111111 654321", s))
	assert.Equal(t, 2, b.triesLeft(t), "counts as any other wrong PIN")
	assert.Equal(t, "90008", p.pinFlags())
	for _, short := range []string{"-", "12345", "1234567890123", strings.Repeat("1", 1900)} {
		assert.Equal(t, "a2", p.call("setpin %s %s %s", s, pin, short), "the new PIN's length")
	}
	assert.Equal(t, 3, b.triesLeft(t), "the old one was right")
	assert.Equal(t, "0", p.call("setpin %s %s жаңа12", s, pin))
	assert.Equal(t, pinFine, p.pinFlags(), "it was changed")
	assert.Equal(t, "a0", p.call("login %s 1 %s", s, pin))
	assert.Equal(t, "0", p.call("login %s 1 жаңа12", s))
	assert.Equal(t, "0", p.call("setpin %s жаңа12 222222", s), "also by a user who is logged in")
	p.end()

	p = b.probe(t)
	s = p.openRW()
	assert.Equal(t, "0", p.call("login %s 1 222222", s), "it outlives the process")
	assert.Equal(t, "0 6 12", strings.Join(append([]string{"0"}, strings.Fields(p.call("tokeninfo 0"))[2:4]...), " "), "the bounds stay")
	assert.Equal(t, "0", p.call("logout %s", s))
	for _, want := range []string{"a0", "a0", "a4", "a4"} {
		assert.Equal(t, want, p.call("setpin %s 111111 333333", s))
	}
	assert.Equal(t, pinLocked, p.pinFlags())
	assert.Equal(t, "a4", p.call("setpin %s 222222 333333", s))
	p.end()
}

func TestInitPIN(t *testing.T) {
	b := pinBed(t, false)
	p := b.probe(t)
	s := p.openRW()
	for range 3 {
		p.call("login %s 1 111111", s)
	}
	require.Equal(t, pinLocked, p.pinFlags())
	assert.Equal(t, "101", p.call("initpin %s 222222", s), "nobody is logged in")

	ro := p.open(false)
	assert.Equal(t, "b7", p.call("login %s 0 %s", s, puk), "a read-only session is open")
	assert.Equal(t, "b5", p.call("initpin %s 222222", ro))
	assert.Equal(t, "0", p.call("close %s", ro))
	assert.Equal(t, "a0", p.call("login %s 0 %s", s, pin), "not the PUK")
	assert.Equal(t, 2, b.pukTriesLeft(t))
	assert.Equal(t, "140008", p.pinFlags())
	assert.Equal(t, "0", p.call("login %s 0 %s", s, puk))
	assert.Equal(t, 3, b.pukTriesLeft(t))
	assert.Equal(t, "0 4", p.call("sessinfo %s", s), "the security officer's functions")
	assert.Equal(t, "100", p.call("login %s 0 %s", s, puk))
	assert.Equal(t, "104", p.call("login %s 1 %s", s, pin))
	assert.Equal(t, "b8 0", p.call("open 0"), "no read-only session now")
	assert.Equal(t, "a2", p.call("initpin %s 12345", s))
	assert.Equal(t, "a2", p.call("initpin %s -", s))
	for _, odd := range []string{"3131310a313131", "31310d31313131", "00313131313131"} {
		assert.Equal(t, "a1", p.call("initpinhex %s %s", s, odd))
	}
	assert.Equal(t, pinLocked, p.pinFlags(), "none of these did anything")
	assert.Equal(t, "0", p.call("initpin %s 222222", s))
	assert.Equal(t, pinFine, p.pinFlags())
	assert.Equal(t, "0", p.call("setpin %s %s new-puk", s, puk), "the security officer's own PIN")
	assert.Equal(t, "0", p.call("logout %s", s))
	assert.Equal(t, "0", p.call("login %s 1 222222", s))
	assert.Equal(t, "104", p.call("login %s 0 new-puk", s))
	assert.Equal(t, "101", p.call("initpin %s 333333", s), "the user may not")
	assert.Equal(t, "0", p.call("logout %s", s))

	for i, want := range []string{"a0", "a0", "a4", "a4"} {
		assert.Equal(t, want, p.call("login %s 0 %s", s, puk))
		assert.Equal(t, []string{"100008", "300008", "400008", "400008"}[i], p.pinFlags())
	}
	assert.Equal(t, "a4", p.call("login %s 0 new-puk", s), "the right one comes too late")
	assert.Equal(t, "0", p.call("login %s 1 222222", s), "the user's PIN does not mind")
	p.end()
}

func TestTokenWithoutPUK(t *testing.T) {
	b := &bed{dir: t.TempDir()}
	_, err := softtoken.Create(b.dir, "r", softtoken.Info{Label: "x", PIN: pin})
	require.NoError(t, err)
	p := b.probe(t)
	s := p.openRW()
	assert.Equal(t, "102", p.call("login %s 0 %s", s, puk))
	p.end()
}

// The first PIN of a token that has none comes from the security officer.
func TestFirstPIN(t *testing.T) {
	b := &bed{dir: t.TempDir()}
	_, err := softtoken.Create(b.dir, "r", softtoken.Info{Label: "x", PUK: puk})
	require.NoError(t, err)
	p := b.probe(t)
	s := p.openRW()
	assert.Equal(t, "0", p.pinFlags())
	assert.Equal(t, "0", p.call("login %s 0 %s", s, puk))
	assert.Equal(t, "0", p.call("initpin %s 4444", s))
	assert.Equal(t, "0", p.call("logout %s", s))
	assert.Equal(t, "0", p.call("login %s 1 4444", s))
	p.end()
}
