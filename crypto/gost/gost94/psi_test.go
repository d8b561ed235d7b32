package gost94

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// psi is RFC 5831 section 5.3 as it is written.
func psi(b *block) {
	cell := func(i int) uint64 { return b[i/4] >> (16 * (i % 4)) & 0xffff }
	x := cell(0) ^ cell(1) ^ cell(2) ^ cell(3) ^ cell(12) ^ cell(15)
	*b = block{b[0]>>16 | b[1]<<48, b[1]>>16 | b[2]<<48, b[2]>>16 | b[3]<<48, b[3]>>16 | x<<48}
}

func TestMix(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		for _, n := range []int{1, 12, 61} {
			b := block{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}
			want := b
			for range n {
				psi(&want)
			}
			b.mix(n)
			require.Equal(t, want, b)
		}
	}
}
