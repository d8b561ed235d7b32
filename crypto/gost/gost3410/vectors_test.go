package gost3410

import (
	"crypto"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/gost/gost94"
	"tanba/crypto/gost/streebog"
)

// The curves against the parameters as another program took them from the RFCs.
func TestParameters(t *testing.T) {
	var curves map[string]struct {
		P, A, B, Q, X, Y string
		Cof              int
	}
	readJSON(t, &curves, "ru", "gost-curves.json")
	seen := map[*Curve]bool{}
	for name, want := range curves {
		// XchA and XchB are second names, known by their object identifiers.
		c, err := ByName(strings.Replace(strings.Replace(name, "XchA", "A", 1), "XchB", "C", 1))
		require.NoError(t, err, name)
		seen[c] = true
		var s *set
		for i := range sets {
			if sets[i].name == c.name {
				s = &sets[i]
			}
		}
		p := number(s.p)
		a := new(big.Int).Sub(p, big.NewInt(3))
		if s.a != "" {
			a = number(s.a)
		}
		assert.Equal(t, be(t, want.P, c.size), p.FillBytes(make([]byte, c.size)), name)
		assert.Equal(t, be(t, want.A, c.size), a.FillBytes(make([]byte, c.size)), name)
		assert.Equal(t, be(t, want.B, c.size), be(t, s.b, c.size), name)
		assert.Equal(t, be(t, want.Q, c.size), be(t, s.q, c.size), name)
		assert.Equal(t, be(t, want.X, c.size), be(t, s.x, c.size), name)
		assert.Equal(t, be(t, want.Y, c.size), be(t, s.y, c.size), name)
		assert.Equal(t, want.Cof, c.cofactor, name)
		assert.True(t, c.arith().onCurve(be(t, s.x, c.size), be(t, s.y, c.size)), name)
		assert.True(t, c.arith().inSubgroup(be(t, s.x, c.size), be(t, s.y, c.size), c.q), name)
	}
	assert.Len(t, seen, len(Curves()))
}

type fixed struct {
	Curve, Message, Digest, D, K, E, R, S string
	Qx, Qy                                string
	SPKI                                  string `json:"spki_octets"`
	Signature                             string `json:"signature_s_r"`
	DigestBytes                           string `json:"digest_bytes"`
}

// RFC 7091 section 7 (in the file) and one signature for each curve, made in
// Python and accepted by OpenSSL's gost engine.
func TestRussianVectors(t *testing.T) {
	var file struct {
		Example fixed   `json:"rfc7091_ex1"`
		D3      fixed   `json:"rfc9215_D3_key"`
		D2      fixed   `json:"rfc9215_D2_key"`
		Fixed   []fixed `json:"fixed_k"`
	}
	readJSON(t, &file, "ru", "vectors.json")
	file.Example.Digest = file.Example.DigestBytes
	require.NotEmpty(t, file.Fixed)
	for _, v := range append(file.Fixed, file.Example) {
		t.Run(v.Curve, func(t *testing.T) {
			name := strings.Replace(strings.Replace(v.Curve, "XchA", "A", 1), "XchB", "C", 1)
			c, err := ByName(name)
			require.NoError(t, err)
			key, err := NewPrivateKey(c, be(t, v.D, c.size), BigEndian)
			require.NoError(t, err)
			digest := unhex(t, v.Digest)
			assert.Equal(t, v.SPKI, hexOf(key.PublicKey().Bytes()))
			if v.Message != "" {
				assert.Equal(t, digest, digestOf(c, v.Message))
			}
			r, s, ok := key.sign(digest, be(t, v.K, c.size))
			require.True(t, ok)
			assert.Equal(t, v.Signature, hexOf(Russian.join(r, s)))
			assert.NoError(t, key.PublicKey().Verify(digest, unhex(t, v.Signature), Russian))
		})
	}
	for i, v := range []fixed{file.D2, file.D3} {
		c, err := ByName(v.Curve)
		require.NoError(t, err)
		key, err := NewPrivateKey(c, be(t, v.D, c.size), BigEndian)
		require.NoError(t, err)
		assert.Equal(t, be(t, v.Qx, c.size), key.public.x, i)
		assert.Equal(t, be(t, v.Qy, c.size), key.public.y, i)
	}
}

// RFC 7091 section 7.2: the example with 512 bits, which the file lacks. The
// digest is e, least significant byte first.
func TestRFC7091Example2(t *testing.T) {
	c, err := ByName("id-tc26-gost-3410-2012-512-paramSetTest")
	require.NoError(t, err)
	key, err := NewPrivateKey(c, be(t, "0BA6048AADAE241BA40936D47756D7C93091A0E8514669700EE7508E508B102072E8123B2200A0563322DAD2827E2714A2636B7BFD18AADFC62967821FA18DD4", 64), BigEndian)
	require.NoError(t, err)
	digest := reversed(be(t, "3754F3CFACC9E0615C4F4A7C4D8DAB531B09B6F9C170C533A71D147035B0C5917184EE536593F4414339976C647C5D5A407ADEDB1D560C4FC6777D2972075B8C", 64))
	r, s, ok := key.sign(digest, be(t, "0359E7F4B1410FEACC570456C6801496946312120B39D019D455986E364F365886748ED7A44B3E794434006011842286212273A6D14CF70EA3AF71BB1AE679F1", 64))
	require.True(t, ok)
	assert.Equal(t, be(t, "2F86FA60A081091A23DD795E1E3C689EE512A3C82EE0DCC2643C78EEA8FCACD35492558486B20F1C9EC197C90699850260C93BCBCD9C5C3317E19344E173AE36", 64), r)
	assert.Equal(t, be(t, "1081B394696FFE8E6585E7A9362D26B6325F56778AADBC081C0BFBE933D52FF5823CE288E8C4F362526080DF7F70CE406A6EEB1F56919CB92A9853BDE73E5B4A", 64), s)
}

// The test keys of NCA RK: public key, a signature with a given number, and a
// signature that Kalkan made.
func TestKazakhVectors(t *testing.T) {
	var file struct {
		P12 []struct {
			File, Keyalg, D, Qx, Qy string
		}
		Sign []struct {
			File, Alg, Msg, Digest, K string
			Signature                 string `json:"signature_r_le_s_le"`
		}
		Hash []struct {
			Msg, Streebog512, Streebog256 string
			Test                          string `json:"gost34311_95_testparams"`
			CryptoPro                     string `json:"gostr341194_cryptopro_NOT_USED"`
		}
		Kalkan struct {
			Msg, Digest, D string
			Signature      string `json:"sig_kalkan_r_le_s_le"`
		}
	}
	readJSON(t, &file, "kz", "vectors.json")
	new512, err := ByOID([]int{1, 2, 398, 3, 10, 1, 1, 2, 2, 1})
	require.NoError(t, err)
	old256, err := ByOID([]int{1, 2, 398, 3, 10, 1, 1, 1, 1, 1})
	require.NoError(t, err)

	keys := map[string]*PrivateKey{}
	for _, v := range file.P12 {
		c := map[string]*Curve{"1.2.398.3.10.1.1.2.2": new512, "1.2.398.3.10.1.1.1.1": old256}[v.Keyalg]
		if c == nil {
			continue // RSA
		}
		key, err := NewPrivateKey(c, reversed(be(t, v.D, c.size)), LittleEndian)
		require.NoError(t, err, v.File)
		assert.Equal(t, be(t, v.Qx, c.size), key.public.x, v.File)
		assert.Equal(t, be(t, v.Qy, c.size), key.public.y, v.File)
		keys[v.File] = key
	}
	require.NotEmpty(t, keys)
	require.NotEmpty(t, file.Sign)
	for _, v := range file.Sign {
		key := keys[v.File]
		require.NotNil(t, key, v.File)
		digest := unhex(t, v.Digest)
		if key.public.curve == new512 {
			assert.Equal(t, digest, digestOf(new512, v.Msg))
		} else {
			h := gost94.NewTest()
			h.Write([]byte(v.Msg))
			assert.Equal(t, digest, h.Sum(nil))
		}
		r, s, ok := key.sign(digest, be(t, v.K, key.public.curve.size))
		require.True(t, ok)
		assert.Equal(t, v.Signature, hexOf(Kazakh.join(r, s)), v.File)
		assert.NoError(t, key.public.Verify(digest, unhex(t, v.Signature), Kazakh))
	}

	require.NotEmpty(t, file.Hash)
	for _, v := range file.Hash {
		s512, s256 := streebog.Sum512([]byte(v.Msg)), streebog.Sum256([]byte(v.Msg))
		assert.Equal(t, v.Streebog512, hexOf(s512[:]))
		assert.Equal(t, v.Streebog256, hexOf(s256[:]))
		a, b := gost94.NewTest(), gost94.NewCryptoPro()
		a.Write([]byte(v.Msg))
		b.Write([]byte(v.Msg))
		assert.Equal(t, v.Test, hexOf(a.Sum(nil)))
		assert.Equal(t, v.CryptoPro, hexOf(b.Sum(nil)))
	}

	kalkan, err := NewPrivateKey(new512, be(t, file.Kalkan.D, 64), BigEndian)
	require.NoError(t, err)
	digest := digestOf(new512, file.Kalkan.Msg)
	assert.Equal(t, file.Kalkan.Digest, hexOf(digest))
	sig := unhex(t, file.Kalkan.Signature)
	assert.NoError(t, kalkan.PublicKey().Verify(digest, sig, Kazakh))
	assert.Error(t, kalkan.PublicKey().Verify(digest, sig, Russian))
	var signer crypto.Signer = kalkan
	made, err := signer.Sign(nil, digest, Kazakh)
	require.NoError(t, err)
	assert.NoError(t, kalkan.PublicKey().Verify(digest, made, Kazakh))
}
