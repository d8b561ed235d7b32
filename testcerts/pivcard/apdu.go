package pivcard

import (
	"bytes"
)

// The status words that are answered (ISO/IEC 7816-4, SP 800-73-4 part 2).
const (
	ok               = 0x9000
	moreToCome       = 0x6100
	wrongPIN         = 0x63C0 // with the tries left in the last digit
	wrongLength      = 0x6700
	chainingError    = 0x6883
	notSatisfied     = 0x6982
	blocked          = 0x6983
	invalidData      = 0x6A80
	notFound         = 0x6A82
	invalidParameter = 0x6A86
	noReference      = 0x6A88
	unknownCommand   = 0x6D00
	unknownClass     = 0x6E00
)

// maxCommand bounds a chain of commands, in bytes; SP 800-73-4 has none longer
// than its largest object.
const maxCommand = 16 << 10

// command is a command APDU.
type command struct {
	class, ins, p1, p2 byte
	data               []byte
	most               int // of the answer, in bytes
}

// parse reads a command APDU, short or extended (ISO/IEC 7816-3, section 12.1).
func parse(b []byte) (c command, valid bool) {
	if len(b) < 4 {
		return c, false
	}
	c = command{class: b[0], ins: b[1], p1: b[2], p2: b[3], most: 256}
	b = b[4:]
	length := func(b []byte, all int) int {
		n := 0
		for _, x := range b {
			n = n<<8 | int(x)
		}
		if n == 0 {
			return all
		}
		return n
	}
	switch {
	case len(b) == 0:
		return c, true
	case len(b) == 1:
		c.most = length(b, 256)
		return c, true
	case b[0] != 0:
		n := int(b[0])
		if len(b) < 1+n || len(b) > 2+n {
			return c, false
		}
		c.data = b[1 : 1+n]
		if len(b) == 2+n {
			c.most = length(b[1+n:], 256)
		}
		return c, true
	case len(b) == 3:
		c.most = length(b[1:], 1<<16)
		return c, true
	case len(b) < 3:
		return c, false
	}
	n := length(b[1:3], 0)
	if n == 0 || len(b) != 3+n && len(b) != 5+n {
		return c, false
	}
	c.data = b[3 : 3+n]
	if len(b) == 5+n {
		c.most = length(b[3+n:], 1<<16)
	}
	return c, true
}

// outcome is what a command comes to.
type outcome struct {
	data   []byte
	status uint16
	pull   bool // the card is pulled instead
}

func status(s uint16) outcome { return outcome{status: s} }

// answer carries out a command APDU and returns the response APDU. pull: the
// card goes before it answers. The caller holds c.mu.
func (c *Card) answer(apdu []byte) (response []byte, pull bool) {
	q, valid := parse(apdu)
	if !valid {
		return trailer(nil, wrongLength), false
	}
	if q.ins == 0xC0 && q.class == 0 {
		return c.send(c.rest, q.most), false
	}
	c.rest = nil
	if q.class&^0x10 != 0 {
		return trailer(nil, unknownClass), false
	}
	header := [4]byte{0, q.ins, q.p1, q.p2}
	if len(c.chain) > 0 && header != c.chained {
		c.chain = nil
		return trailer(nil, chainingError), false
	}
	if len(c.chain)+len(q.data) > maxCommand {
		c.chain = nil
		return trailer(nil, wrongLength), false
	}
	if q.class&0x10 != 0 {
		c.chain, c.chained = append(c.chain, q.data...), header
		return trailer(nil, ok), false
	}
	if len(c.chain) > 0 {
		q.data, c.chain = append(c.chain, q.data...), nil
	}
	o := c.run(q)
	if o.pull {
		return nil, true
	}
	if o.status != ok {
		return trailer(nil, o.status), false
	}
	return c.send(o.data, q.most), false
}

// send returns the first most bytes of data and keeps the rest for GET
// RESPONSE.
func (c *Card) send(data []byte, most int) []byte {
	n := min(len(data), most)
	c.rest = data[n:]
	if len(c.rest) == 0 {
		c.rest = nil
		return trailer(data, ok)
	}
	return trailer(data[:n], moreToCome|uint16(min(len(c.rest), 256)&0xFF))
}

func trailer(data []byte, status uint16) []byte {
	return append(bytes.Clone(data), byte(status>>8), byte(status))
}

// run carries out a command whose chain is complete.
func (c *Card) run(q command) outcome {
	fresh := c.fresh
	c.fresh = false
	if q.ins == 0xA4 {
		return c.choose(q)
	}
	if !c.selected {
		return status(unknownCommand)
	}
	switch q.ins {
	case 0xCB:
		return c.getData(q)
	case 0x20:
		return c.verify(q)
	case 0x24:
		return c.change(q)
	case 0x2C:
		return c.resetCounter(q)
	case 0x87:
		return c.authenticate(q, fresh)
	}
	return status(unknownCommand)
}

// choose is SELECT. The application's version may be left out. What is not
// there leaves the application selected that was.
func (c *Card) choose(q command) outcome {
	if q.p1 != 0x04 || q.p2 != 0x00 {
		return status(invalidParameter)
	}
	if len(q.data) < 9 || !bytes.HasPrefix(application, q.data) {
		return status(notFound)
	}
	if !c.selected {
		c.verified = false
	}
	c.selected = true
	return outcome{data: template, status: ok}
}

func (c *Card) getData(q command) outcome {
	if q.p1 != 0x3F || q.p2 != 0xFF {
		return status(invalidParameter)
	}
	tag, value, rest, valid := next(q.data)
	if !valid || tag != 0x5C || len(rest) > 0 {
		return status(invalidData)
	}
	data, found := c.objects[string(value)]
	if !found {
		return status(notFound)
	}
	return outcome{data: data, status: ok}
}

// power is a reset of the card, or its end. The caller holds c.mu.
func (c *Card) power() {
	c.selected, c.verified, c.fresh = false, false, false
	c.chain, c.rest = nil, nil
}
