// Package pivcard plays PIV cards (NIST SP 800-73-4) to the virtual reader of
// vsmartcard, vpcd, so that tests go through a real card service and a real
// card driver without hardware: RSA-2048, P-256 and P-384 keys in slots 9A,
// 9C, 9D and 9E, a PIN with its counter, a PUK, a key that wants the PIN for
// each signature, insertion, removal and faults.
//
// It is for the demo, trials and tests only: its arithmetic does not run in
// constant time. Cards are not written to, except for PIN and PUK.
package pivcard

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Slot is a key reference (SP 800-73-4 part 1, table 4b).
type Slot byte

// The slots.
const (
	// Authentication wants the PIN once.
	Authentication Slot = 0x9A
	// Signature wants the PIN immediately before each signature.
	Signature Slot = 0x9C
	// KeyManagement wants the PIN once. Card drivers use an EC key there for
	// key agreement only, which this card does not do.
	KeyManagement Slot = 0x9D
	// CardAuthentication wants no PIN.
	CardAuthentication Slot = 0x9E
)

// A Key is a key pair with its certificate.
type Key struct {
	Slot Slot
	// Key is an *rsa.PrivateKey of 2048 bits or an *ecdsa.PrivateKey on P-256
	// or P-384.
	Key crypto.Signer
	// Certificate belongs to the key; nil: the slot shows none.
	Certificate *x509.Certificate
}

// Options say what is on a new card.
type Options struct {
	// PIN has 6 to 8 digits, PUK 8 bytes; 123456 and 12345678 if empty.
	PIN, PUK string
	// Tries is how many wrong PINs, or PUKs, in a row lock it, at most 15; 3
	// if zero.
	Tries int
	Keys  []Key
}

// A Fault is what goes wrong from now on. The zero Fault is nothing.
type Fault struct {
	// Delay comes before the answer to each command.
	Delay time.Duration
	// PullAt pulls the card in the middle of its PullAt'th signature from now.
	PullAt int
	// Status is answered in place of a signature, for example 0x6F00.
	Status uint16
	// BadSignature turns a bit of each signature.
	BadSignature bool
}

// A Card is one card. Its methods may be called from several goroutines.
type Card struct {
	objects map[string][]byte // by the tag's bytes
	keys    map[Slot]crypto.Signer

	mu    sync.Mutex
	pin   secret
	puk   secret
	fault Fault
	made  int // signatures since the last SetFault
	// What follows is lost with power.
	selected bool
	verified bool
	fresh    bool // the command before was the right PIN
	chain    []byte
	chained  [4]byte // the header that the chain belongs to
	rest     []byte  // of the answer
}

// secret is a PIN or PUK, padded to 8 bytes with FF.
type secret struct {
	value       []byte
	tries, left int
}

// Bounds of PIN and PUK: SP 800-73-4 part 2, section 2.4.3.
const (
	pinSize  = 8
	minPIN   = 6
	maxTries = 15
)

// New makes a card with a random serial number.
func New(o Options) (*Card, error) {
	if o.PIN == "" {
		o.PIN = "123456"
	}
	if o.PUK == "" {
		o.PUK = "12345678"
	}
	if o.Tries == 0 {
		o.Tries = 3
	}
	if o.Tries < 1 || o.Tries > maxTries {
		return nil, fmt.Errorf("invalid card: %d tries", o.Tries)
	}
	pin := pad(o.PIN)
	if !validPIN(pin) {
		return nil, errors.New("invalid card: the PIN has 6 to 8 digits")
	}
	if len(o.PUK) != pinSize {
		return nil, errors.New("invalid card: the PUK has 8 bytes")
	}
	c := &Card{
		keys: map[Slot]crypto.Signer{},
		pin:  secret{pin, o.Tries, o.Tries},
		puk:  secret{[]byte(o.PUK), o.Tries, o.Tries},
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	c.objects = dataObjects(id)
	for _, k := range o.Keys {
		if err := c.add(k); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Card) add(k Key) error {
	tag, ok := certificateTags[k.Slot]
	if !ok {
		return fmt.Errorf("unsupported slot %X", byte(k.Slot))
	}
	if c.keys[k.Slot] != nil {
		return fmt.Errorf("invalid card: slot %X twice", byte(k.Slot))
	}
	if _, _, err := algorithm(k.Key); err != nil {
		return err
	}
	c.keys[k.Slot] = k.Key
	if k.Certificate != nil {
		c.objects[tag] = certificateObject(k.Certificate.Raw)
	}
	return nil
}

// algorithm returns the identifier of a key (SP 800-78-4 table 6-2) and the
// size in bytes of what it signs.
func algorithm(key crypto.Signer) (id byte, size int, err error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() == 2048 && len(k.Primes) == 2 {
			return 0x07, 256, nil
		}
	case *ecdsa.PrivateKey:
		switch k.Curve {
		case elliptic.P256():
			return 0x11, 32, nil
		case elliptic.P384():
			return 0x14, 48, nil
		}
	}
	return 0, 0, fmt.Errorf("unsupported key of type %T: RSA-2048, P-256 or P-384", key)
}

// TriesLeft returns how many wrong PINs the card still takes; 0: it is locked.
func (c *Card) TriesLeft() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pin.left
}

// PUKTriesLeft returns how many wrong PUKs the card still takes.
func (c *Card) PUKTriesLeft() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.puk.left
}

// Unlock gives PIN and PUK all their tries back.
func (c *Card) Unlock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pin.left, c.puk.left = c.pin.tries, c.puk.tries
}

// Made returns how many signatures the card was asked for since it was made or
// the last SetFault.
func (c *Card) Made() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

// SetFault makes things go wrong from now on; Fault{} makes them work again.
func (c *Card) SetFault(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault, c.made = f, 0
}

func pad(pin string) []byte {
	return []byte(pin + strings.Repeat("\xFF", max(0, pinSize-len(pin))))
}

// validPIN reports whether b is 6 to 8 digits, padded.
func validPIN(b []byte) bool {
	if len(b) != pinSize {
		return false
	}
	digits := bytes.TrimRight(b, "\xFF")
	return len(digits) >= minPIN && len(bytes.Trim(digits, "0123456789")) == 0
}

// SetPIN gives the card another PIN, as its owner does elsewhere.
func (c *Card) SetPIN(pin string) error {
	b := pad(pin)
	if !validPIN(b) {
		return errors.New("invalid PIN: 6 to 8 digits")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pin.value, c.verified = b, false
	return nil
}
