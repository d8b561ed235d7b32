package pages

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// nonceHeader is the header of a stream's request in which the page asks for a
// proof: 32 lower-case hex digits of its own choice.
//
// When the agent has died, another user's process can take its port within the
// time in which the page tries to come back, and the page would give it the
// PIN. So the page gets a key with its bearer, which it never sends back; a
// stream begins with the HMAC-SHA256 of the nonce under that key, and the page
// calls nobody who has not shown it.
const nonceHeader = "Tanba-Nonce"

// proof returns the first line of a stream for a request that asks for it.
func (sh *Shown) proof(r *http.Request) []byte {
	nonce, err := hex.DecodeString(r.Header.Get(nonceHeader))
	if err != nil || len(nonce) != 16 {
		return nil
	}
	sh.mu.Lock()
	m := hmac.New(sha256.New, []byte(sh.key))
	sh.mu.Unlock()
	m.Write(nonce)
	return []byte(`{"event":"proof","data":"` + hex.EncodeToString(m.Sum(nil)) + `"}` + "\n")
}
