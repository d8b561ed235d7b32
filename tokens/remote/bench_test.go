//go:build cgo

package remote_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"strings"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
	"tanba/tokens/remote"
	"tanba/tokens/tokentest"
)

// BenchmarkHop is what the way to the token process and back costs a
// signature: the fake at the other end answers at once.
func BenchmarkHop(b *testing.B) {
	self, err := os.Executable()
	require.NoError(b, err)
	d, err := remote.New(remote.Config{Host: self, Library: "/fake/library.so", Env: []string{fakeMode + "=sign at once"}})
	require.NoError(b, err)
	defer func() { _ = d.Close() }()
	s := tokentest.Unlock(b, d, "i", fakePIN)
	for _, n := range []int{1, 200} {
		digests := tokentest.Digests(sigalg.ECDSAP256SHA256, n)
		name := "one at a time"
		if n > 1 {
			name = "batch of 200"
		}
		b.Run(name, func(b *testing.B) {
			count := 0
			for b.Loop() {
				for _, err := range s.Sign(b.Context(), sigalg.ECDSAP256SHA256, digests) {
					if err != nil {
						b.Fatal(err)
					}
					count++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(count), "µs/signature")
		})
	}
}

// BenchmarkBatch200 compares a batch of 200 RSA-2048 signatures on SoftHSM
// through the token process with a bare loop of C_SignInit and C_Sign on one
// session in this process. The two take turns, so that a busy machine is
// unfair to neither; "ratio" is our rate over the bare one.
func BenchmarkBatch200(b *testing.B) {
	bed := tokentest.SoftHSM(b)
	for _, e := range bed.Env {
		name, value, _ := strings.Cut(e, "=")
		b.Setenv(name, value)
	}
	for _, c := range []struct {
		name string
		alg  sigalg.Algorithm
	}{{"rsa", sigalg.RSASHA256}, {"p256", sigalg.ECDSAP256SHA256}} {
		b.Run(c.name, func(b *testing.B) {
			d := softHSM(b, bed)
			bare := newBareLoop(b, bed, bed.PKI.Pair(b, c.name).ID, c.alg)
			for _, id := range tokentest.Identities(b, d) {
				if id.Algorithms[0] != c.alg {
					continue
				}
				s := tokentest.Unlock(b, d, id.ID, bed.PIN)
				digests := tokentest.Digests(c.alg, 200)
				var ours, theirs time.Duration
				for b.Loop() {
					began := time.Now()
					n := 0
					for _, err := range s.Sign(b.Context(), c.alg, digests) {
						if err != nil {
							b.Fatal(err)
						}
						n++
					}
					require.Equal(b, 200, n)
					ours += time.Since(began)
					began = time.Now()
					bare.sign(b, digests)
					theirs += time.Since(began)
				}
				b.ReportMetric(float64(200*b.N)/ours.Seconds(), "ours/s")
				b.ReportMetric(float64(200*b.N)/theirs.Seconds(), "bare/s")
				b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
				require.NoError(b, s.Close())
			}
		})
	}
}

// bareLoop is one PKCS#11 session, logged in, and a key.
type bareLoop struct {
	p   *p11.Ctx
	sh  p11.SessionHandle
	key p11.ObjectHandle
	alg sigalg.Algorithm
}

func newBareLoop(b *testing.B, bed *tokentest.Bed, id []byte, alg sigalg.Algorithm) *bareLoop {
	b.Helper()
	p := p11.New(bed.Module)
	require.NotNil(b, p)
	require.NoError(b, p.Initialize())
	b.Cleanup(func() { _ = p.Finalize() })
	slots, err := p.GetSlotList(true)
	require.NoError(b, err)
	for _, slot := range slots {
		info, err := p.GetTokenInfo(slot)
		require.NoError(b, err)
		if info.Label != bed.Label {
			continue
		}
		sh, err := p.OpenSession(slot, p11.CKF_SERIAL_SESSION)
		require.NoError(b, err)
		require.NoError(b, p.Login(sh, p11.CKU_USER, bed.PIN))
		require.NoError(b, p.FindObjectsInit(sh, []*p11.Attribute{
			p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY), p11.NewAttribute(p11.CKA_ID, id),
		}))
		keys, _, err := p.FindObjects(sh, 1)
		require.NoError(b, err)
		require.Len(b, keys, 1)
		require.NoError(b, p.FindObjectsFinal(sh))
		return &bareLoop{p, sh, keys[0], alg}
	}
	require.Fail(b, "token not found")
	return nil
}

func (l *bareLoop) sign(b *testing.B, digests [][]byte) {
	mech := []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}
	if l.alg == sigalg.RSASHA256 {
		mech = []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS, nil)}
	}
	for _, d := range digests {
		in := d
		if l.alg == sigalg.RSASHA256 {
			var err error
			in, err = asn1.Marshal(struct {
				Algorithm pkix.AlgorithmIdentifier
				Digest    []byte
			}{pkix.AlgorithmIdentifier{Algorithm: sigalg.SHA256.Identifier().OID, Parameters: asn1.NullRawValue}, d})
			if err != nil {
				b.Fatal(err)
			}
		}
		if err := l.p.SignInit(l.sh, mech, l.key); err != nil {
			b.Fatal(err)
		}
		if _, err := l.p.Sign(l.sh, in); err != nil {
			b.Fatal(err)
		}
	}
}
