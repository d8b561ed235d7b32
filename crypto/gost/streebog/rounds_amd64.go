package streebog

// rounds is roundsGeneric with the table's rows kept apart by hand: the
// compiler spills half of the bytes to the stack, which costs half of the speed.
//
//go:noescape
func rounds(t *lookup, c *[12]vector, s, k *vector)
