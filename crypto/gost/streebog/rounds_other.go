//go:build !amd64

package streebog

func rounds(t *lookup, c *[12]vector, s, k *vector) { roundsGeneric(t, c, s, k) }
