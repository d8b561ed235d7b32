package pkcs11_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"tanba/tokens"
	"tanba/tokens/tokentest"
)

// Everything at once on one library: a fault in how sessions are shared ends
// the test's process.
func TestEverythingAtOnce(t *testing.T) {
	b := tokentest.SoftHSM(t)
	first := b.Label
	b.AddToken(t, "SECOND")
	b.Label = "SECOND"
	pair := b.PKI.Pair(t, "p384")
	b.ImportKey(t, pair)
	b.ImportCertificate(t, pair.Certificate, pair.ID, pair.Name)
	b.Label = first
	b.Setenv(t)
	d := open(t, b.Module)
	ids := tokentest.Identities(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var made, lists, refused atomic.Int64
	var wg sync.WaitGroup
	for _, id := range ids {
		for range 2 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					s, err := d.Open(t.Context(), id.ID)
					if !assert.NoError(t, err) {
						return
					}
					pin := b.PIN
					if n%4 == 3 {
						pin = "9999"
					}
					err = s.Login(t.Context(), tokens.NewPIN([]byte(pin)))
					if pin != b.PIN {
						var pinError *tokens.PINError
						assert.ErrorAs(t, err, &pinError)
						refused.Add(1)
					} else if assert.NoError(t, err) {
						for _, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 8)) {
							assert.NoError(t, err)
							made.Add(1)
						}
					}
					assert.NoError(t, s.Close())
				}
			})
		}
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			got, err := d.List(t.Context())
			assert.NoError(t, err)
			assert.Len(t, got, 2)
			lists.Add(1)
		}
	})
	events := make(chan tokens.Event, 100)
	wg.Go(func() { d.Watch(ctx, events) })
	wg.Wait()
	assert.Empty(t, events)
	assert.Positive(t, made.Load()*lists.Load()*refused.Load())
	t.Logf("%d signatures, %d lists, %d wrong PINs", made.Load(), lists.Load(), refused.Load())
}
