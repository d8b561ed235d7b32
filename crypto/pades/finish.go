package pades

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
)

// Digest returns what the token signs: the digest of the CMS' signed
// attributes with the algorithm's digest.
func (p *Pending) Digest() []byte { return p.cades.Digest() }

// Size returns the length in bytes of the signed file.
func (p *Pending) Size() int64 { return p.d.size + int64(len(p.update)) }

// Finish puts sig, the signature octets in sigalg's layout, into the hole and
// writes the signed file to w: the document as it was, then the update. n is
// the number of bytes written. sig is not checked: see package verify.
func (p *Pending) Finish(ctx context.Context, sig []byte, w io.Writer) (n int64, err error) {
	der, err := p.cades.Finish(sig)
	if err != nil {
		return 0, err
	}
	if 2*len(der) > p.to-p.from {
		return 0, fmt.Errorf("invalid signature: a CMS of %d bytes where room is for %d", len(der), (p.to-p.from)/2)
	}
	out := counter{ctx: ctx, w: w}
	if err := p.d.copyBase(&out); err != nil {
		return out.n, err
	}
	hole := p.update[p.from:p.to]
	hex.Encode(hole, der)
	for i := 2 * len(der); i < len(hole); i++ {
		hole[i] = '0'
	}
	_, err = out.Write(p.update)
	return out.n, err
}

// A counter counts what passes, and stops when its context ends.
type counter struct {
	ctx context.Context
	w   io.Writer
	n   int64
}

func (c *counter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
