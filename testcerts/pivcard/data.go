package pivcard

import "slices"

// The tags of the data objects (SP 800-73-4 part 1, table 3).
const (
	tagCapabilities = "\x5F\xC1\x07"
	tagCHUID        = "\x5F\xC1\x02"
	tagDiscovery    = "\x7E"
)

var certificateTags = map[Slot]string{
	Authentication:     "\x5F\xC1\x05",
	Signature:          "\x5F\xC1\x0A",
	KeyManagement:      "\x5F\xC1\x0B",
	CardAuthentication: "\x5F\xC1\x01",
}

// application is the PIV application's identifier with its version.
var application = []byte{0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00}

// template answers SELECT (SP 800-73-4 part 2, table 3).
var template = tlv(0x61, slices.Concat(
	tlv(0x4F, application[5:]),
	tlv(0x79, tlv(0x4F, application[:5])),
	tlv(0x50, []byte("PIV")),
))

// nobody is a FASC-N outside the federal government: agency, system and
// credential are all nines, so that readers take the card's GUID as its serial
// number. Five bits a digit, the lowest first, then odd parity.
var nobody = fascN(";9999=9999=999999=9=9=9999999999199991?")

func fascN(digits string) []byte {
	var bits []byte
	var check byte
	add := func(v byte) {
		parity := byte(1)
		for i := range 4 {
			b := v >> i & 1
			bits = append(bits, b)
			parity ^= b
		}
		bits = append(bits, parity)
		check ^= v
	}
	for _, d := range []byte(digits) {
		add(d - '0') // ':' to '?' are 10 to 15 there
	}
	add(check)
	out := make([]byte, len(bits)/8)
	for i, b := range bits {
		out[i/8] |= b << (7 - i%8)
	}
	return out
}

// dataObjects makes the objects that each card has, by tag.
func dataObjects(id [16]byte) map[string][]byte {
	var capabilities []byte
	// The card identifier: PIV's RID, manufacturer, type, and 14 bytes of ours.
	capabilities = append(capabilities, tlv(0xF0, append([]byte{0xA0, 0, 0, 0x01, 0x16, 0xFF, 0x02}, id[:14]...))...)
	capabilities = append(capabilities, tlv(0xF1, []byte{0x21})...)
	capabilities = append(capabilities, tlv(0xF2, []byte{0x21})...)
	for _, t := range []uint{0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE} {
		v := []byte{}
		if t == 0xF5 {
			v = []byte{0x10} // the data model
		}
		capabilities = append(capabilities, tlv(t, v)...)
	}
	return map[string][]byte{
		tagCHUID:        tlv(0x53, slices.Concat(tlv(0x30, nobody), tlv(0x34, id[:]), tlv(0x35, []byte("20991231")), tlv(0x3E, nil), tlv(0xFE, nil))),
		tagCapabilities: tlv(0x53, capabilities),
		// The application's own PIN and no other.
		tagDiscovery: tlv(0x7E, slices.Concat(tlv(0x4F, application), tlv(0x5F2F, []byte{0x40, 0x00}))),
	}
}

// certificateObject wraps a certificate, uncompressed.
func certificateObject(der []byte) []byte {
	return tlv(0x53, slices.Concat(tlv(0x70, der), tlv(0x71, []byte{0}), tlv(0xFE, nil)))
}

// tlv encodes a BER-TLV object.
func tlv(tag uint, value []byte) []byte {
	var out []byte
	if tag > 0xFF {
		out = append(out, byte(tag>>8))
	}
	out = append(out, byte(tag))
	switch n := len(value); {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	default:
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	return append(out, value...)
}

// next takes a BER-TLV object with a tag of one byte off b.
func next(b []byte) (tag byte, value, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	tag, n, b := b[0], int(b[1]), b[2:]
	if more := n - 0x80; more >= 0 {
		if more < 1 || more > 2 || len(b) < more {
			return 0, nil, nil, false
		}
		n = 0
		for _, x := range b[:more] {
			n = n<<8 | int(x)
		}
		b = b[more:]
	}
	if n > len(b) {
		return 0, nil, nil, false
	}
	return tag, b[:n], b[n:], true
}
