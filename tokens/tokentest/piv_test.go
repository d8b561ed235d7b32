package tokentest_test

import (
	"testing"

	"tanba/tokens/tokentest"
)

func TestPIV(t *testing.T) {
	b := tokentest.PIV(t)
	for _, args := range [][]string{{"-L"}, {"-O", "--login", "--pin", b.PIN}, {"-M"}} {
		t.Log(b.Tool(t, "pkcs11-tool", append([]string{"--module", b.Module}, args...)...))
	}
}
