package cades_test

import (
	"encoding/asn1"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cades"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
	"tanba/testcerts"
)

// A broken signature for every rule: what the rule says is found, and nothing
// else.
func TestEveryRule(t *testing.T) {
	h := newHolder(t, testcerts.P256)
	other := newHolder(t, testcerts.P256)
	attr := func(oid asn1.ObjectIdentifier, value ...byte) cms.Attribute {
		a, err := cms.NewAttribute(oid, value)
		require.NoError(t, err)
		return a
	}
	octets := func(oid asn1.ObjectIdentifier) cms.Attribute { return attr(oid, 4, 1, 0) }
	drop := func(si *cms.SignerInfo, oid asn1.ObjectIdentifier) {
		si.SignedAttrs = slices.DeleteFunc(slices.Clone(si.SignedAttrs), func(a cms.Attribute) bool { return a.Type.Equal(oid) })
	}
	swap := func(si *cms.SignerInfo, a cms.Attribute) {
		drop(si, a.Type)
		add(si, a)
	}
	ess := func(h holder, d sigalg.Digest) cms.Attribute {
		a, err := cms.SigningCertificate(h.Certificate, d)
		require.NoError(t, err)
		return a
	}
	explicit256 := func() cms.Attribute {
		// The same attribute with the default SHA-256 written out, which our
		// own builder cannot make.
		good := ess(h, sigalg.SHA256).Values[0]
		var v struct{ Certs []asn1.RawValue }
		_, err := asn1.Unmarshal(good, &v)
		require.NoError(t, err)
		alg := []byte{0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1}
		v.Certs[0] = asn1.RawValue{Tag: 16, IsCompound: true, Bytes: append(alg, v.Certs[0].Bytes...)}
		der, err := asn1.Marshal(v)
		require.NoError(t, err)
		return attr(cms.OIDSigningCertificateV2, der...)
	}
	location := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 17}
	policy := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 15}
	store := asn1.ObjectIdentifier{0, 4, 0, 19122, 1, 3}
	contentTime := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 20}
	timestamp := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}

	for _, c := range []struct {
		name  string
		kind  cades.Kind
		want  []string
		spoil func(sd *cms.SignedData, si *cms.SignerInfo)
	}{
		{"nothing", cades.CAdES, nil, func(*cms.SignedData, *cms.SignerInfo) {}},
		{"nothing", cades.PAdES, nil, func(*cms.SignedData, *cms.SignerInfo) {}},
		{"a policy, a location and a time-stamp", cades.CAdES, nil, func(_ *cms.SignedData, si *cms.SignerInfo) {
			add(si, octets(location))
			add(si, octets(policy))
			add(si, octets(contentTime))
			add(si, octets(contentTime))
			si.UnsignedAttrs = append(si.UnsignedAttrs, octets(store), octets(timestamp), octets(timestamp), octets(cms.OIDCountersignature))
		}},
		{"no certificates", cades.CAdES, []string{"C-01"}, func(sd *cms.SignedData, _ *cms.SignerInfo) { sd.Certificates = [][]byte{} }},
		{"certificates of others", cades.CAdES, []string{"C-01"}, func(sd *cms.SignedData, _ *cms.SignerInfo) {
			sd.Certificates = [][]byte{other.Certificate.Raw}
		}},
		{"no content-type", cades.CAdES, []string{"C-02"}, func(_ *cms.SignedData, si *cms.SignerInfo) { drop(si, cms.OIDContentType) }},
		{"content-type not data", cades.CAdES, []string{"C-02"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			swap(si, attr(cms.OIDContentType, 6, 1, 0x2a))
		}},
		{"content-type of two values", cades.CAdES, []string{"C-02"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			a := cms.Find(si.SignedAttrs, cms.OIDContentType)[0]
			a.Values = append(a.Values, a.Values[0])
			swap(si, a)
		}},
		{"no message-digest", cades.CAdES, []string{"C-03"}, func(_ *cms.SignedData, si *cms.SignerInfo) { drop(si, cms.OIDMessageDigest) }},
		{"message-digest no string", cades.CAdES, []string{"C-03"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			swap(si, attr(cms.OIDMessageDigest, 5, 0))
		}},
		{"no signing-certificate", cades.CAdES, []string{"C-04"}, func(_ *cms.SignedData, si *cms.SignerInfo) { drop(si, cms.OIDSigningCertificateV2) }},
		{"signing-certificate in both versions", cades.CAdES, []string{"C-04"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			add(si, octets(cms.OIDSigningCertificate))
		}},
		{"signing-certificate of another", cades.CAdES, []string{"C-04"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			swap(si, ess(other, sigalg.SHA256))
		}},
		{"signing-certificate malformed", cades.CAdES, []string{"C-04"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			swap(si, octets(cms.OIDSigningCertificateV2))
		}},
		{"signing-certificate with SHA-512", cades.CAdES, nil, func(_ *cms.SignedData, si *cms.SignerInfo) {
			swap(si, ess(h, sigalg.SHA512))
		}},
		{"signing-certificate with SHA-256 written out", cades.CAdES, []string{"C-04"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			swap(si, explicit256())
		}},
		{"no signing-time", cades.CAdES, []string{"C-05"}, func(_ *cms.SignedData, si *cms.SignerInfo) { drop(si, cms.OIDSigningTime) }},
		{"signing-time no time", cades.CAdES, []string{"C-05"}, func(_ *cms.SignedData, si *cms.SignerInfo) { swap(si, octets(cms.OIDSigningTime)) }},
		{"signer-location twice", cades.CAdES, []string{"C-06", "C-09"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			add(si, octets(location))
			add(si, octets(location))
		}},
		{"countersignature signed", cades.CAdES, []string{"C-06"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			add(si, octets(cms.OIDCountersignature))
		}},
		{"policy store without policy", cades.CAdES, []string{"C-07"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			si.UnsignedAttrs = append(si.UnsignedAttrs, octets(store))
		}},
		{"SignerInfo version", cades.CAdES, []string{"C-08"}, func(_ *cms.SignedData, si *cms.SignerInfo) { si.Version = 2 }},
		{"SignedData version", cades.CAdES, []string{"C-08"}, func(sd *cms.SignedData, _ *cms.SignerInfo) { sd.Version = 3 }},
		{"SignedData version with OCSP", cades.CAdES, []string{"C-08"}, func(sd *cms.SignedData, _ *cms.SignerInfo) { sd.CRLs = [][]byte{{0xa1, 0}} }},
		{"key identifier and version 1", cades.CAdES, []string{"C-08"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			si.SubjectKeyID = h.Certificate.X509.SubjectKeyId
		}},
		{"order", cades.CAdES, []string{"C-09"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			si.SignedAttrs = slices.Clone(si.SignedAttrs)
			slices.Reverse(si.SignedAttrs)
		}},
		{"digest not listed", cades.CAdES, []string{"C-10"}, func(sd *cms.SignedData, _ *cms.SignerInfo) { sd.DigestAlgorithms = nil }},
		{"digest listed twice", cades.CAdES, []string{"C-10"}, func(sd *cms.SignedData, _ *cms.SignerInfo) {
			sd.DigestAlgorithms = append(slices.Clone(sd.DigestAlgorithms), sd.DigestAlgorithms[0])
		}},
		{"not DER", cades.PAdES, []string{"P-05"}, func(sd *cms.SignedData, _ *cms.SignerInfo) { sd.DER = false }},
		{"two signers", cades.PAdES, []string{"P-05"}, func(sd *cms.SignedData, si *cms.SignerInfo) {
			sd.SignerInfos = append(sd.SignerInfos, si)
		}},
		{"content", cades.PAdES, []string{"P-05"}, func(sd *cms.SignedData, _ *cms.SignerInfo) { sd.Content = cms.NewContent(nil, 0) }},
		{"location", cades.PAdES, []string{"P-08"}, func(_ *cms.SignedData, si *cms.SignerInfo) { add(si, octets(location)) }},
		{"countersignature", cades.PAdES, []string{"P-08"}, func(_ *cms.SignedData, si *cms.SignerInfo) {
			si.UnsignedAttrs = append(si.UnsignedAttrs, octets(cms.OIDCountersignature))
		}},
	} {
		t.Run(string(c.kind)+" "+c.name, func(t *testing.T) {
			at := now
			if c.kind == cades.PAdES {
				at = time.Time{}
			}
			p := h.prepare(t, sigalg.ECDSAP256SHA256, at, []byte("x"), nil)
			der, err := p.Finish(h.sign(t, sigalg.ECDSAP256SHA256, p.Digest()))
			require.NoError(t, err)
			sd, err := cms.Parse(der)
			require.NoError(t, err)
			si := *sd.SignerInfos[0]
			built := &cms.SignedData{ // without the certificates' parsed form
				Version: sd.Version, DigestAlgorithms: sd.DigestAlgorithms, ContentType: sd.ContentType,
				Certificates: sd.Certificates, SignerInfos: []*cms.SignerInfo{&si}, DER: true,
			}
			c.spoil(built, &si)
			assert.Equal(t, c.want, ids(cades.Check(built, &si, c.kind)))
		})
	}
}

// add puts a where DER wants it.
func add(si *cms.SignerInfo, a cms.Attribute) {
	list := slices.Clone(si.SignedAttrs)
	for i := range len(list) + 1 {
		if next := slices.Insert(slices.Clone(list), i, a); cms.Sorted(next) {
			si.SignedAttrs = next
			return
		}
	}
	panic("no place for the attribute")
}
