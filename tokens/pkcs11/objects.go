package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"unicode"

	p11 "github.com/miekg/pkcs11"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// Bounds of what is read from one token.
const (
	maxCertificates = 128
	maxKeys         = 256
	maxLabel        = 256 // bytes
)

// keyObject is a public or private key on a token.
type keyObject struct {
	handle p11.ObjectHandle
	id     []byte
	label  string
	rsa    bool
	// modulus and point are what the token shows of the public key, nil where
	// it shows nothing.
	modulus, point []byte
	always         bool
}

// fit says whether a key belongs to a public key.
type fit int

const (
	unknown fit = iota // the token does not show enough
	same
	other
)

func (k *keyObject) fits(pub crypto.PublicKey) fit {
	switch p := pub.(type) {
	case *rsa.PublicKey:
		switch {
		case !k.rsa:
			return other
		case len(k.modulus) == 0:
			return unknown
		case new(big.Int).SetBytes(k.modulus).Cmp(p.N) == 0:
			return same
		}
		return other
	case *ecdsa.PublicKey:
		if k.rsa {
			return other
		}
		if len(k.point) == 0 {
			return unknown
		}
		want, err := p.Bytes()
		if err != nil {
			return other
		}
		// CKA_EC_POINT is an OCTET STRING around the point (v2.40 mechanisms
		// 2.3.3); libraries that leave the wrapping out exist.
		var inner []byte
		if rest, err := asn1.Unmarshal(k.point, &inner); err == nil && len(rest) == 0 && bytes.Equal(inner, want) {
			return same
		}
		if bytes.Equal(k.point, want) {
			return same
		}
	}
	return other
}

// read reads one token without its PIN.
func (d *Driver) read(s slotToken) (tokens.Token, error) {
	t := tokens.Token{
		ID: s.id, Label: clean(s.info.Label), Serial: clean(s.info.SerialNumber),
		Manufacturer: clean(s.info.ManufacturerID), Model: clean(s.info.Model), Library: d.path,
		PIN: pinState(s.info.Flags), PUK: pukState(s.info.Flags), ProtectedPath: s.info.Flags&p11.CKF_PROTECTED_AUTHENTICATION_PATH != 0,
	}
	t.MinPIN, t.MaxPIN = pinBounds(s.info)
	sh, err := d.p.OpenSession(s.slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return t, d.failed("C_OpenSession", err, s.slot, s.id)
	}
	defer func() { _ = d.p.CloseSession(sh) }()
	certs, err := d.certificates(sh)
	if err != nil {
		return t, err
	}
	keys := append(d.keys(sh, p11.CKO_PUBLIC_KEY), d.keys(sh, p11.CKO_PRIVATE_KEY)...)
	mechanisms := d.mechanisms(s.slot)
	for _, c := range certs {
		if c.isCA() {
			continue
		}
		t.Identities = append(t.Identities, d.identity(s.id, c, certs, keys, mechanisms))
	}
	return t, nil
}

// identity makes the identity of c, and remembers what Open needs of it.
func (d *Driver) identity(tokenID string, c certObject, all []certObject, keys []keyObject, mechanisms map[uint]bool) tokens.Identity {
	i := tokens.Identity{
		ID: identityID(tokenID, c.Certificate), TokenID: tokenID, Certificate: c.Certificate, Label: c.label,
		Chain: issuers(c.Certificate, all),
	}
	related, matching := 0, 0
	for _, k := range keys {
		f := k.fits(c.PublicKey)
		paired := len(c.id) > 0 && bytes.Equal(k.id, c.id)
		if paired && f != unknown {
			related++
		}
		if f == same {
			matching++
		}
		if f == same || (f == unknown && paired) {
			i.AlwaysAuthenticate = i.AlwaysAuthenticate || k.always
			if k.label != "" {
				i.Label = k.label
			}
		}
	}
	d.mu.Lock()
	k := d.known[i.ID]
	if k == nil {
		k = &known{tokenID: tokenID, cert: c.Certificate}
		d.known[i.ID] = k
	}
	k.ckaID = c.id
	i.Problem = k.problem
	i.AlwaysAuthenticate = i.AlwaysAuthenticate || k.always
	d.mu.Unlock()

	usable, err := sigalg.ForKey(c.PublicKey)
	switch {
	case err != nil:
		i.Problem = err.Error()
	case related > 0 && matching == 0:
		i.Problem = "the key with the certificate's CKA_ID does not match the certificate"
	}
	if i.Problem != "" {
		return i
	}
	for _, a := range usable {
		if m, ok := mechanismOf(a); ok && mechanisms[m] {
			i.Algorithms = append(i.Algorithms, a)
		}
	}
	if len(i.Algorithms) == 0 {
		i.Problem = "the token has no mechanism for this key"
	}
	return i
}

// certObject is a certificate on a token.
type certObject struct {
	*cert.Certificate
	id    []byte
	label string
}

// isCA reports whether the certificate is an authority's.
func (c certObject) isCA() bool { return c.X509.BasicConstraintsValid && c.X509.IsCA }

// certificates reads the X.509 certificates that a session sees. One that
// cannot be read is left out: cards carry all sorts of remains.
func (d *Driver) certificates(sh p11.SessionHandle) ([]certObject, error) {
	handles, err := d.find(sh, maxCertificates, p11.NewAttribute(p11.CKA_CLASS, p11.CKO_CERTIFICATE))
	if err != nil {
		return nil, err
	}
	var out []certObject
	for _, h := range handles {
		if v := d.attribute(sh, h, p11.CKA_CERTIFICATE_TYPE); len(v) > 0 && number(v) != p11.CKC_X_509 {
			continue
		}
		der := d.attribute(sh, h, p11.CKA_VALUE)
		c, err := cert.Parse(der)
		if err != nil {
			d.log.Warn("certificate on the token left out", "bytes", len(der))
			continue
		}
		if slices.ContainsFunc(out, func(o certObject) bool { return bytes.Equal(o.Raw, c.Raw) }) {
			continue
		}
		label := d.attribute(sh, h, p11.CKA_LABEL)
		out = append(out, certObject{c, d.attribute(sh, h, p11.CKA_ID), clean(string(label[:min(len(label), maxLabel)]))})
	}
	return out, nil
}

// keys reads the keys of a class that a session sees; what cannot be read is
// left out.
func (d *Driver) keys(sh p11.SessionHandle, class uint) []keyObject {
	handles, err := d.find(sh, maxKeys, p11.NewAttribute(p11.CKA_CLASS, class))
	if err != nil {
		d.log.Debug("keys not listed", "class", class, "err", err)
	}
	var out []keyObject
	for _, h := range handles {
		k := keyObject{handle: h, id: d.attribute(sh, h, p11.CKA_ID)}
		switch v := d.attribute(sh, h, p11.CKA_KEY_TYPE); {
		case len(v) > 0 && number(v) == p11.CKK_RSA:
			k.rsa = true
			k.modulus = d.attribute(sh, h, p11.CKA_MODULUS)
		case len(v) > 0 && number(v) == p11.CKK_EC:
			k.point = d.attribute(sh, h, p11.CKA_EC_POINT)
		default:
			continue
		}
		label := d.attribute(sh, h, p11.CKA_LABEL)
		k.label = clean(string(label[:min(len(label), maxLabel)]))
		if class == p11.CKO_PRIVATE_KEY {
			v := d.attribute(sh, h, p11.CKA_ALWAYS_AUTHENTICATE)
			k.always = len(v) > 0 && v[0] != 0
		}
		out = append(out, k)
	}
	return out
}

// find lists at most most objects that match.
func (d *Driver) find(sh p11.SessionHandle, most int, template ...*p11.Attribute) ([]p11.ObjectHandle, error) {
	if err := d.p.FindObjectsInit(sh, template); err != nil {
		return nil, callError("C_FindObjectsInit", err)
	}
	defer func() { _ = d.p.FindObjectsFinal(sh) }()
	var out []p11.ObjectHandle
	for len(out) < most {
		hs, _, err := d.p.FindObjects(sh, min(32, most-len(out)))
		if err != nil {
			return nil, callError("C_FindObjects", err)
		}
		if len(hs) == 0 {
			break
		}
		out = append(out, hs...)
	}
	return out, nil
}

// attribute reads one attribute, nil if the token does not give it. One at a
// time, because one bad attribute fails the whole call.
func (d *Driver) attribute(sh p11.SessionHandle, h p11.ObjectHandle, typ uint) []byte {
	as, err := d.p.GetAttributeValue(sh, h, []*p11.Attribute{p11.NewAttribute(typ, nil)})
	if err != nil || len(as) != 1 || len(as[0].Value) > cert.MaxSize {
		return nil
	}
	return as[0].Value
}

// number reads a CK_ULONG in the machine's order; every machine we run on is
// little-endian.
func number(v []byte) uint {
	var n uint
	for i := len(v) - 1; i >= 0; i-- {
		n = n<<8 | uint(v[i])
	}
	return n
}

// issuers returns the certificates of all that lead from c upwards, by name
// and key identifier. Signatures are checked where a chain is validated.
func issuers(c *cert.Certificate, all []certObject) []*cert.Certificate {
	var out []*cert.Certificate
	for at, more := c, true; more; {
		more = false
		for _, o := range all {
			x := at.X509
			if !bytes.Equal(o.X509.RawSubject, x.RawIssuer) || bytes.Equal(o.Raw, c.Raw) ||
				slices.ContainsFunc(out, func(s *cert.Certificate) bool { return bytes.Equal(s.Raw, o.Raw) }) {
				continue
			}
			if len(x.AuthorityKeyId) > 0 && len(o.X509.SubjectKeyId) > 0 && !bytes.Equal(x.AuthorityKeyId, o.X509.SubjectKeyId) {
				continue
			}
			out = append(out, o.Certificate)
			at, more = o.Certificate, true
			break
		}
	}
	return out
}

// mechanisms returns the mechanisms of the token in a slot.
func (d *Driver) mechanisms(slot uint) map[uint]bool {
	list, err := d.p.GetMechanismList(slot)
	if err != nil {
		d.log.Warn("mechanisms not listed", "slot", slot, "err", callError("C_GetMechanismList", err))
	}
	out := map[uint]bool{}
	for _, m := range list {
		out[m.Mechanism] = true
	}
	return out
}

// clean returns what a token says of itself as UTF-8 without padding, control
// and formatting characters.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.TrimSpace(s)
}
