package wire_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
	"tanba/tokens/tokentest"
	"tanba/tokens/wire"
)

func TestFrameRoundTrip(t *testing.T) {
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	for _, payload := range [][]byte{nil, {1}, bytes.Repeat([]byte{7}, 1<<20)} {
		q := wire.Request{ID: 7, Op: wire.Sign, Session: 3, Algorithm: sigalg.RSASHA256, Count: 2}
		require.NoError(t, w.Write(q, payload))
		var got wire.Request
		back, err := wire.NewReader(&b).Read(&got)
		require.NoError(t, err)
		assert.Equal(t, q, got)
		assert.True(t, bytes.Equal(payload, back))
	}
	_, err := wire.NewReader(&b).Read(&wire.Request{})
	assert.Equal(t, io.EOF, err)
}

func frame(header string, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)+len(payload)))
	return string(binary.BigEndian.AppendUint32(b, uint32(len(header)))) + header + payload
}

func TestBadFrames(t *testing.T) {
	require.Equal(t, "\x00\x00\x00\x07\x00\x00\x00\x02{}x", frame("{}", "x"))
	for name, in := range map[string]string{
		"cut in the length":        "\x00\x00",
		"cut in the header length": "\x00\x00\x00\x08\x00",
		"cut in the header":        "\x00\x00\x00\x08\x00\x00\x00\x04{\"",
		"cut in the payload":       frame("{}", "xxxx")[:11],
		"shorter than its header":  "\x00\x00\x00\x06\x00\x00\x00\x04{}",
		"no room for a header":     "\x00\x00\x00\x03abc",
		"4 GiB":                    "\xff\xff\xff\xff",
		"one above the bound":      "\x00\x40\x00\x01",
		"header of 4 GiB":          "\x00\x00\x00\x06\xff\xff\xff\xff{}",
		"no JSON":                  frame("id=1", ""),
		"empty header":             frame("", "x"),
		"unknown key":              frame(`{"id":1,"op":"list","path":"/x"}`, ""),
		"wrong type":               frame(`{"id":"1"}`, ""),
		"two values":               frame(`{"id":1}{"id":2}`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wire.NewReader(strings.NewReader(in)).Read(&wire.Request{})
			assert.ErrorIs(t, err, wire.ErrMalformed)
		})
	}
	assert.ErrorIs(t, wire.NewWriter(io.Discard).Write(wire.Request{}, make([]byte, wire.MaxFrame)), wire.ErrMalformed)
}

// keeping keeps the slice that it is asked to write, to look at it later.
type keeping struct{ last []byte }

func (k *keeping) Write(p []byte) (int, error) {
	k.last = p
	return len(p), nil
}

func TestPayloadIsWiped(t *testing.T) {
	k := &keeping{}
	require.NoError(t, wire.NewWriter(k).Write(wire.Request{ID: 1, Op: wire.Login}, []byte("secret-4711")))
	assert.NotContains(t, string(k.last), "secret")
	assert.Contains(t, string(k.last), "login")
}

func TestErrors(t *testing.T) {
	pin := &tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}
	call := &tokens.CallError{Call: "C_Sign", Code: 0x32, Name: "CKR_DEVICE_REMOVED", Is: tokens.ErrRemoved}
	for name, err := range map[string]error{
		"not present": tokens.ErrNotPresent, "removed": tokens.ErrRemoved, "library": tokens.ErrLibrary,
		"not logged in": tokens.ErrNotLoggedIn, "bad signature": tokens.ErrBadSignature, "cancelled": tokens.ErrCancelled,
		"busy": tokens.ErrBusy, "unsupported": sigalg.ErrUnsupported, "context": context.Canceled,
		"wrapped": fmt.Errorf("slot 3: %w", tokens.ErrNotPresent), "PIN": pin, "call": call,
		"both": fmt.Errorf("%w: %w", call, pin), "plain": errors.New("plain"),
	} {
		t.Run(name, func(t *testing.T) {
			got := wire.EncodeError(err).Err()
			require.Error(t, got)
			assert.Equal(t, err.Error(), got.Error())
			for _, is := range []error{
				tokens.ErrNotPresent, tokens.ErrRemoved, tokens.ErrLibrary, tokens.ErrNotLoggedIn, tokens.ErrBadSignature,
				tokens.ErrCancelled, tokens.ErrBusy, sigalg.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
			} {
				assert.Equal(t, errors.Is(err, is), errors.Is(got, is), "%v", is)
			}
			var p, gotP *tokens.PINError
			assert.Equal(t, errors.As(err, &p), errors.As(got, &gotP))
			assert.Equal(t, p, gotP)
			var c, gotC *tokens.CallError
			assert.Equal(t, errors.As(err, &c), errors.As(got, &gotC))
			assert.Equal(t, c, gotC)
		})
	}
	assert.NoError(t, wire.EncodeError(nil).Err())
	long := wire.EncodeError(errors.New(strings.Repeat("ы", 5000))).Err()
	assert.LessOrEqual(t, len(long.Error()), 1024)
	assert.NotContains(t, (&wire.Error{Text: "a\nb\u202Ec"}).Err().Error(), "\n")
	for name, e := range map[string]*wire.Error{
		"decision": {Decisions: []string{"x"}}, "reason": {PIN: &wire.PINError{Reason: "x", State: tokens.PINOK}},
		"state": {PIN: &wire.PINError{Reason: tokens.PINWrong}}, "tries": {PIN: &wire.PINError{Reason: tokens.PINWrong, State: tokens.PINOK, TriesLeft: -2}},
		"call": {Call: &wire.CallError{Is: "x"}},
	} {
		t.Run("unknown "+name, func(t *testing.T) { assert.ErrorIs(t, e.Err(), wire.ErrMalformed) })
	}
}

func TestTokens(t *testing.T) {
	p := tokentest.NewPKI(t)
	parse := func(der []byte) *cert.Certificate {
		c, err := cert.Parse(der)
		require.NoError(t, err)
		return c
	}
	ca := parse(p.CA.Raw)
	list := []tokens.Token{{
		ID: "1", Label: "Таңба", Serial: "0A", Manufacturer: "m", Model: "n", Library: "/l.so", PIN: tokens.PINFinalTry,
		ProtectedPath: true, MinPIN: 4, MaxPIN: 16,
		Identities: []tokens.Identity{
			{ID: "a", TokenID: "1", Certificate: parse(p.Pairs[0].Certificate.Raw), Chain: []*cert.Certificate{ca}, Algorithms: []sigalg.Algorithm{sigalg.RSASHA256}, Label: "k"},
			{ID: "b", TokenID: "1", Certificate: parse(p.Pairs[1].Certificate.Raw), Chain: []*cert.Certificate{ca}, Problem: "no key", AlwaysAuthenticate: true},
		},
	}, {ID: "2", Library: "/l.so", PIN: tokens.PINNotSet}}
	encoded := wire.EncodeTokens(list)
	assert.Len(t, encoded[0].Chain, 1, "an issuer travels once")
	got, err := wire.DecodeTokens(encoded)
	require.NoError(t, err)
	assert.Equal(t, list, got)

	for name, spoil := range map[string]func(w *wire.Token){
		"no ID":                func(w *wire.Token) { w.ID = "" },
		"label with a newline": func(w *wire.Token) { w.Label = "a\nb" },
		"label no UTF-8":       func(w *wire.Token) { w.Label = "\xff" },
		"long label":           func(w *wire.Token) { w.Label = strings.Repeat("x", 2000) },
		"unknown PIN state":    func(w *wire.Token) { w.PIN = "x" },
		"negative bound":       func(w *wire.Token) { w.MinPIN = -1 },
		"broken certificate":   func(w *wire.Token) { w.Identities[0].Certificate = []byte{1} },
		"broken issuer":        func(w *wire.Token) { w.Chain[0] = nil },
		"unknown algorithm":    func(w *wire.Token) { w.Identities[0].Algorithms = []sigalg.Algorithm{"x"} },
		"place outside":        func(w *wire.Token) { w.Identities[0].Chain = []int{1} },
		"place below":          func(w *wire.Token) { w.Identities[0].Chain = []int{-1} },
	} {
		t.Run(name, func(t *testing.T) {
			w := wire.EncodeTokens(list)
			spoil(&w[0])
			_, err := wire.DecodeTokens(w)
			assert.ErrorIs(t, err, wire.ErrMalformed)
		})
	}
}

func TestDigests(t *testing.T) {
	one := make([]byte, 32)
	got, err := wire.PackDigests(sigalg.RSASHA256, [][]byte{one, one})
	require.NoError(t, err)
	assert.Len(t, got, 64)
	for name, digests := range map[string][][]byte{
		"none": {}, "short": {one[1:]}, "nil": {nil}, "too many": make([][]byte, wire.MaxDigests+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wire.PackDigests(sigalg.RSASHA256, digests)
			assert.Error(t, err)
		})
	}
}

// FuzzFrame: a frame that is read is written as a frame that reads the same.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(frame(`{"id":1,"op":"list"}`, "abc")))
	f.Add([]byte(frame(`{"id":1,"op":"sign","session":2,"algorithm":"x","count":3}`, "")))
	f.Fuzz(func(t *testing.T, in []byte) {
		var q wire.Request
		payload, err := wire.NewReader(bytes.NewReader(in)).Read(&q)
		if err != nil {
			return
		}
		var b bytes.Buffer
		require.NoError(t, wire.NewWriter(&b).Write(q, payload))
		var again wire.Request
		back, err := wire.NewReader(&b).Read(&again)
		require.NoError(t, err)
		assert.Equal(t, q, again)
		assert.Equal(t, payload, back)
	})
}
