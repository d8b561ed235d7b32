package pivcard_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts/pivcard"
)

// vpcd plays the reader's driver.
type vpcd struct {
	t      *testing.T
	l      net.Listener
	conn   net.Conn
	reader *pivcard.Reader
}

func newVPCD(t *testing.T) *vpcd {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	v := &vpcd{t: t, l: l, reader: pivcard.NewReader(l.Addr().String())}
	t.Cleanup(func() {
		v.reader.Pull()
		_ = l.Close()
	})
	return v
}

// insert puts a card in and powers it.
func (v *vpcd) insert(c *pivcard.Card) {
	v.t.Helper()
	v.reader.Insert(c)
	v.accept()
}

func (v *vpcd) accept() {
	v.t.Helper()
	require.NoError(v.t, v.l.(*net.TCPListener).SetDeadline(time.Now().Add(5*time.Second)))
	var err error
	v.conn, err = v.l.Accept()
	require.NoError(v.t, err)
	require.NoError(v.t, v.conn.SetDeadline(time.Now().Add(20*time.Second)))
	v.write([]byte{1})
	v.write([]byte{4})
	atr, err := v.read()
	require.NoError(v.t, err)
	assert.Equal(v.t, byte(0x3B), atr[0])
	var check byte
	for _, x := range atr[1:] {
		check ^= x
	}
	assert.Zero(v.t, check, "TCK")
}

func (v *vpcd) write(b []byte) {
	v.t.Helper()
	_, err := v.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	require.NoError(v.t, err)
}

func (v *vpcd) read() ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(v.conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(v.conn, b)
	return b, err
}

// raw sends one APDU and returns its answer.
func (v *vpcd) raw(apdu []byte) (data []byte, sw string) {
	v.t.Helper()
	v.write(apdu)
	b, err := v.read()
	require.NoError(v.t, err)
	require.GreaterOrEqual(v.t, len(b), 2)
	return b[:len(b)-2], hex.EncodeToString(b[len(b)-2:])
}

// do sends a command with its data in as many APDUs as it takes and collects
// the answer.
func (v *vpcd) do(header string, data []byte) ([]byte, string) {
	v.t.Helper()
	h, err := hex.DecodeString(header)
	require.NoError(v.t, err)
	for len(data) > 255 {
		part := append([]byte{h[0] | 0x10, h[1], h[2], h[3], 255}, data[:255]...)
		_, sw := v.raw(part)
		if sw != "9000" {
			return nil, sw
		}
		data = data[255:]
	}
	apdu := h
	if len(data) > 0 {
		apdu = append(append(apdu, byte(len(data))), data...)
	}
	out, sw := v.raw(append(apdu, 0))
	for strings.HasPrefix(sw, "61") {
		var more []byte
		more, sw = v.raw([]byte{0, 0xC0, 0, 0, 0})
		out = append(out, more...)
	}
	return out, sw
}

func (v *vpcd) sw(header, data string) string {
	v.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
	require.NoError(v.t, err)
	_, sw := v.do(header, b)
	return sw
}

const (
	aid      = "A00000030800001000"
	rightPIN = "313233343536FFFF"
	wrongPIN = "393939393939FFFF"
	puk      = "3132333435363738"
)

func certificate(t *testing.T, key crypto.Signer) *x509.Certificate {
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.Repeat("long ", 60)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

type keys struct {
	rsa        *rsa.PrivateKey
	p256, p384 *ecdsa.PrivateKey
}

func newCard(t *testing.T) (*pivcard.Card, keys) {
	var k keys
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	c, err := pivcard.New(pivcard.Options{Keys: []pivcard.Key{
		{Slot: pivcard.Authentication, Key: k.rsa, Certificate: certificate(t, k.rsa)},
		{Slot: pivcard.Signature, Key: k.p256},
		{Slot: pivcard.CardAuthentication, Key: k.p384},
	}})
	require.NoError(t, err)
	return c, k
}

func selected(t *testing.T) (*vpcd, *pivcard.Card, keys) {
	c, k := newCard(t)
	v := newVPCD(t)
	v.insert(c)
	assert.Equal(t, "6d00", v.sw("00CB3FFF", "5C017E"), "the application is not selected yet")
	assert.Equal(t, "6a82", v.sw("00A40400", "A000000151000000"))
	require.Equal(t, "9000", v.sw("00A40400", aid))
	return v, c, k
}

func TestDataObjects(t *testing.T) {
	v, _, k := selected(t)
	out, sw := v.do("00CB3FFF", []byte{0x5C, 3, 0x5F, 0xC1, 0x05})
	require.Equal(t, "9000", sw)
	want := certificate(t, k.rsa)
	assert.Greater(t, len(out), 512, "it came in several answers")
	assert.Contains(t, string(out), string(want.RawSubjectPublicKeyInfo))
	for tag, status := range map[string]string{
		"5C 03 5FC102": "9000", "5C 03 5FC107": "9000", "5C 01 7E": "9000", "5C 03 5FC10A": "6a82",
		"5C 03 5FC103": "6a82", "5C 04 5FC102": "6a80", "5D 03 5FC102": "6a80", "": "6a80", "5C 03 5FC102 00": "6a80",
	} {
		assert.Equal(t, status, v.sw("00CB3FFF", tag), tag)
	}
	out, _ = v.do("00CB3FFF", []byte{0x5C, 3, 0x5F, 0xC1, 0x02})
	// The FASC-N that NIST and others give for cards outside the government
	// begins so: start sentinel and agency code 9999.
	assert.Equal(t, "3019d4e739da739ced39ce739d", hex.EncodeToString(out[2:15]))
}

func TestPIN(t *testing.T) {
	v, c, _ := selected(t)
	assert.Equal(t, "63c3", v.sw("00200080", ""), "how many are left")
	for _, malformed := range []string{"3132333435", "3132333435FFFFFF", "31323334FF35FFFF", "41323334353637FF", rightPIN + "FF"} {
		assert.Equal(t, "6a80", v.sw("00200080", malformed), malformed)
	}
	assert.Equal(t, 3, c.TriesLeft(), "what is no PIN costs nothing")
	assert.Equal(t, "6a88", v.sw("00200000", rightPIN), "there is no global PIN")
	assert.Equal(t, "63c2", v.sw("00200080", wrongPIN))
	assert.Equal(t, "9000", v.sw("00200080", rightPIN))
	assert.Equal(t, "9000", v.sw("00200080", ""), "verified")
	assert.Equal(t, 3, c.TriesLeft())
	assert.Equal(t, "9000", v.sw("0020FF80", ""))
	assert.Equal(t, "63c3", v.sw("00200080", ""), "no longer")
	for _, want := range []string{"63c2", "63c1", "63c0", "6983"} {
		assert.Equal(t, want, v.sw("00200080", wrongPIN))
	}
	assert.Equal(t, "6983", v.sw("00200080", rightPIN), "locked")
	assert.Equal(t, "6983", v.sw("00200080", ""))
	assert.Zero(t, c.TriesLeft())

	assert.Equal(t, "63c2", v.sw("002C0080", wrongPIN+rightPIN))
	assert.Equal(t, "6a80", v.sw("002C0080", puk+"31FFFFFFFFFFFFFF"))
	assert.Equal(t, "9000", v.sw("002C0080", puk+"363534333231FFFF"))
	assert.Equal(t, "63c2", v.sw("00200080", rightPIN), "the PIN is another")
	assert.Equal(t, "9000", v.sw("00200080", "363534333231FFFF"))
	assert.Equal(t, 3, c.PUKTriesLeft())

	assert.Equal(t, "63c2", v.sw("00240080", rightPIN+rightPIN))
	assert.Equal(t, "9000", v.sw("00240080", "363534333231FFFF"+rightPIN))
	assert.Equal(t, "9000", v.sw("00240081", puk+"3837363534333231"))
	for _, want := range []string{"63c2", "63c1", "63c0", "6983"} {
		assert.Equal(t, want, v.sw("002C0080", puk+rightPIN))
	}
	assert.Zero(t, c.PUKTriesLeft())
	c.Unlock()
	assert.Equal(t, "9000", v.sw("002C0080", "3837363534333231"+rightPIN))
}

// sign asks for a signature and returns it.
func (v *vpcd) sign(header string, challenge []byte) ([]byte, string) {
	v.t.Helper()
	n := binary.BigEndian.AppendUint16(nil, uint16(len(challenge)))
	inner := append(append([]byte{0x82, 0, 0x81, 0x82}, n...), challenge...)
	outer := append(append([]byte{0x7C, 0x82}, binary.BigEndian.AppendUint16(nil, uint16(len(inner)))...), inner...)
	out, sw := v.do(header, outer)
	if sw != "9000" {
		return nil, sw
	}
	// 7C L 82 L signature: the lengths are of one byte below 80.
	i := bytes.IndexByte(out[2:], 0x82) + 2
	switch {
	case len(out) > 256:
		i = 8
	case out[1] < 0x80:
		i = 4
	}
	return out[i:], sw
}

func TestSign(t *testing.T) {
	v, c, k := selected(t)
	digest := sha256.Sum256([]byte("text"))
	block := pkcs1(digest[:])
	_, sw := v.sign("0087079A", block)
	assert.Equal(t, "6982", sw, "the PIN first")
	require.Equal(t, "9000", v.sw("00200080", rightPIN))
	for range 2 {
		sig, sw := v.sign("0087079A", block)
		require.Equal(t, "9000", sw)
		assert.NoError(t, rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, digest[:], sig))
	}
	long := sha512.Sum384([]byte("text"))
	sig, sw := v.sign("0087149E", long[:])
	require.Equal(t, "9000", sw)
	assert.True(t, ecdsa.VerifyASN1(&k.p384.PublicKey, long[:], sig))

	// 9C wants the PIN immediately before, each time.
	_, sw = v.sign("0087119C", digest[:])
	assert.Equal(t, "6982", sw)
	for range 2 {
		require.Equal(t, "9000", v.sw("00200080", rightPIN))
		sig, sw = v.sign("0087119C", digest[:])
		require.Equal(t, "9000", sw)
		assert.True(t, ecdsa.VerifyASN1(&k.p256.PublicKey, digest[:], sig))
		_, sw = v.sign("0087119C", digest[:])
		assert.Equal(t, "6982", sw)
	}
	require.Equal(t, "9000", v.sw("00200080", rightPIN))
	require.Equal(t, "9000", v.sw("00CB3FFF", "5C017E"))
	_, sw = v.sign("0087119C", digest[:])
	assert.Equal(t, "6982", sw, "another command came between")

	for header, challenge := range map[string][]byte{
		"0087119A": digest[:], "0087079D": block, "0087079A": block[:255], "0087149E": append(long[:], 0),
	} {
		_, sw = v.sign(header, challenge)
		assert.Contains(t, []string{"6a80", "6a86", "6a88"}, sw, header)
	}
	_, sw = v.sign("0087079A", bytes.Repeat([]byte{0xFF}, 256))
	assert.Equal(t, "6a80", sw, "a block above the modulus")

	c.SetFault(pivcard.Fault{Status: 0x6F00})
	_, sw = v.sign("0087079A", block)
	assert.Equal(t, "6f00", sw)
	c.SetFault(pivcard.Fault{BadSignature: true})
	sig, sw = v.sign("0087079A", block)
	require.Equal(t, "9000", sw)
	assert.Error(t, rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, digest[:], sig))
	assert.Equal(t, 1, c.Made())
	c.SetFault(pivcard.Fault{Delay: 300 * time.Millisecond})
	begin := time.Now()
	assert.Equal(t, "9000", v.sw("00200080", ""))
	assert.GreaterOrEqual(t, time.Since(begin), 300*time.Millisecond)
	c.SetFault(pivcard.Fault{})

	v.write([]byte{0})
	v.write([]byte{1})
	assert.Equal(t, "6d00", v.sw("00200080", ""))
	require.Equal(t, "9000", v.sw("00A40400", aid))
	_, sw = v.sign("0087079A", block)
	assert.Equal(t, "6982", sw, "power was lost, and the login with it")
}

// pkcs1 pads a SHA-256 digest for RSA-2048 (RFC 8017, section 9.2).
func pkcs1(digest []byte) []byte {
	info, _ := hex.DecodeString("3031300d060960864801650304020105000420")
	b := append([]byte{0, 1}, bytes.Repeat([]byte{0xFF}, 256-3-len(info)-len(digest))...)
	return append(append(append(b, 0), info...), digest...)
}

func TestInsertAndPull(t *testing.T) {
	v, c, _ := selected(t)
	v.reader.Pull()
	_, err := v.read()
	assert.Error(t, err)
	assert.False(t, v.reader.Occupied())
	v.insert(c)
	require.Equal(t, "9000", v.sw("00A40400", aid))
	// The driver goes and comes: the card connects again.
	require.NoError(t, v.conn.Close())
	v.accept()
	require.Equal(t, "9000", v.sw("00A40400", aid))
	require.Equal(t, "9000", v.sw("00200080", rightPIN))
	c.SetFault(pivcard.Fault{PullAt: 2})
	_, sw := v.sign("0087079A", pkcs1(make([]byte, 32)))
	assert.Equal(t, "9000", sw)
	v.write([]byte{0, 0x87, 0x14, 0x9E, 0x08, 0x7C, 6, 0x82, 0, 0x81, 2, 1, 2, 0})
	_, err = v.read()
	assert.ErrorIs(t, err, io.EOF, "pulled in the middle")
	assert.False(t, v.reader.Occupied())
	c.SetFault(pivcard.Fault{Delay: time.Minute})
	v.insert(c)
	v.write([]byte{0, 0xA4, 4, 0})
	time.Sleep(50 * time.Millisecond)
	begin := time.Now()
	v.reader.Pull()
	_, err = v.read()
	assert.Error(t, err)
	assert.Less(t, time.Since(begin), 5*time.Second, "a slow card can be pulled")
}

func TestMalformedCommands(t *testing.T) {
	v, _, _ := selected(t)
	for apdu, want := range map[string]string{
		"03":                     "6700",
		"00A404":                 "6700",
		"00A4040009A000":         "6700",
		"00A40400000000":         "6a82", // Le of 65536, and no name
		"80CB3FFF":               "6e00",
		"00CA3FFF":               "6d00",
		"00CB3F00055C035FC10200": "6a86",
		"0087079A":               "6a80",
		"0087079A027C0000":       "6a80",
		"0087079A037C8100":       "6a80",
		"0087079A047C83000000":   "6a80",
		"0087079A037CFFFF":       "6a80",
	} {
		b, err := hex.DecodeString(apdu)
		require.NoError(t, err)
		if strings.HasPrefix(apdu, "0087") && want == "6a80" {
			require.Equal(t, "9000", v.sw("00200080", rightPIN))
		}
		_, sw := v.raw(b)
		assert.Equal(t, want, sw, apdu)
	}
	// A chain of one command goes on with another.
	_, sw := v.raw([]byte{0x10, 0x87, 7, 0x9A, 1, 0x7C})
	assert.Equal(t, "9000", sw)
	_, sw = v.raw([]byte{0, 0x87, 0x11, 0x9C, 1, 0})
	assert.Equal(t, "6883", sw)
	// A chain without end.
	part := append([]byte{0x10, 0x87, 7, 0x9A, 255}, make([]byte, 255)...)
	for range 100 {
		if _, sw = v.raw(part); sw != "9000" {
			break
		}
	}
	assert.Equal(t, "6700", sw)
	assert.Equal(t, "9000", v.sw("00CB3FFF", "5C017E"), "it works on")
	// Extended lengths.
	out, sw := v.raw([]byte{0, 0xCB, 0x3F, 0xFF, 0, 0, 5, 0x5C, 3, 0x5F, 0xC1, 5, 0, 0})
	assert.Equal(t, "9000", sw)
	assert.Greater(t, len(out), 512, "in one answer")
}

func TestInvalidOptions(t *testing.T) {
	_, k := newCard(t)
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	for name, o := range map[string]pivcard.Options{
		"short PIN":    {PIN: "12345"},
		"PIN of words": {PIN: "password"},
		"short PUK":    {PUK: "1234"},
		"tries":        {Tries: 16},
		"curve":        {Keys: []pivcard.Key{{Slot: pivcard.Signature, Key: weak}}},
		"slot":         {Keys: []pivcard.Key{{Slot: 0x95, Key: k.p256}}},
		"slot twice":   {Keys: []pivcard.Key{{Slot: pivcard.Signature, Key: k.p256}, {Slot: pivcard.Signature, Key: k.p384}}},
	} {
		_, err := pivcard.New(o)
		assert.Error(t, err, name)
	}
}
