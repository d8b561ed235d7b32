package cms

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
)

// Unarmor returns the bytes of a CMS that comes as DER or BER, as one PEM
// block of whatever label, or as bare base64 with or
// without line ends: the forms in which signature files are exchanged. Input
// of more than twice MaxStructure is ErrMalformed; what is none of the three
// too. It does not look inside.
func Unarmor(b []byte) ([]byte, error) {
	if len(b) > 2*MaxStructure {
		return nil, fmt.Errorf("%w: %d bytes, the bound is %d", ErrMalformed, len(b), 2*MaxStructure)
	}
	if len(b) > 0 && b[0] == tagSequence {
		return b, nil
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	if bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		block, rest := pem.Decode(text)
		if block == nil || len(bytes.TrimSpace(rest)) != 0 {
			return nil, fmt.Errorf("%w: PEM", ErrMalformed)
		}
		return block.Bytes, nil
	}
	compact := make([]byte, 0, len(text))
	for _, c := range text {
		if c != '\r' && c != '\n' && c != ' ' && c != '\t' {
			compact = append(compact, c)
		}
	}
	der := make([]byte, base64.StdEncoding.DecodedLen(len(compact)))
	n, err := base64.StdEncoding.Strict().Decode(der, compact)
	if err != nil || n == 0 || der[0] != tagSequence {
		return nil, fmt.Errorf("%w: neither DER nor PEM nor base64", ErrMalformed)
	}
	return der[:n], nil
}
