package streebog

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The rounds of this processor against those in plain Go.
func TestRounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s, k, c vector
		for i := range s {
			s[i], k[i] = rng.Uint64(), rng.Uint64()
		}
		cs := constants
		c[0] = rng.Uint64()
		cs[rng.IntN(12)] = c
		s2, k2 := s, k
		rounds(tables(), &cs, &s, &k)
		roundsGeneric(tables(), &cs, &s2, &k2)
		require.Equal(t, s2, s)
		require.Equal(t, k2, k)
	}
}

func BenchmarkRoundsGeneric(b *testing.B) {
	var s, k vector
	t := tables()
	b.SetBytes(BlockSize)
	for b.Loop() {
		roundsGeneric(t, &constants, &s, &k)
	}
}
