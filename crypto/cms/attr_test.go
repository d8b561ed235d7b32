package cms_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cms"
)

// RFC 5652 section 11.3: UTCTime through 2049, GeneralizedTime from then on,
// always UTC in whole seconds.
func TestSigningTime(t *testing.T) {
	almaty := time.FixedZone("Almaty", 5*3600)
	for in, want := range map[time.Time]string{
		time.Date(2026, 11, 22, 17, 20, 5, 999, almaty):      "170d" + hex.EncodeToString([]byte("261122122005Z")),
		time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC):     "170d" + hex.EncodeToString([]byte("491231235959Z")),
		time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC):          "180f" + hex.EncodeToString([]byte("20500101000000Z")),
		time.Date(2050, 1, 1, 1, 0, 0, 0, almaty):            "170d" + hex.EncodeToString([]byte("491231200000Z")),
		time.Date(1949, 12, 31, 23, 59, 59, 999e6, time.UTC): "180f" + hex.EncodeToString([]byte("19491231235959Z")),
	} {
		a, err := cms.SigningTime(in)
		require.NoError(t, err)
		assert.Equal(t, want, hex.EncodeToString(a.Values[0]))
		got, err := a.Time()
		require.NoError(t, err)
		assert.True(t, in.Truncate(time.Second).Equal(got), "%v %v", in, got)
		assert.Equal(t, time.UTC, got.Location())
	}
	_, err := cms.SigningTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	require.Error(t, err)
}

func TestAttributeValues(t *testing.T) {
	for _, v := range [][]byte{nil, {5, 0}, {0x17, 1, 'x'}, {4, 1}, {6, 0}} {
		a := cms.Attribute{Values: [][]byte{v}}
		_, err := a.Time()
		assert.ErrorIs(t, err, cms.ErrMalformed)
		_, err = a.Octets()
		assert.ErrorIs(t, err, cms.ErrMalformed)
		_, err = a.OID()
		assert.ErrorIs(t, err, cms.ErrMalformed)
		a.Type = cms.OIDSigningCertificateV2
		_, err = cms.ReadReference(a)
		assert.ErrorIs(t, err, cms.ErrReference)
	}
}
