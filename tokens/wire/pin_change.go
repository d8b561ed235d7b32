package wire

import (
	"context"
	"encoding/binary"
	"fmt"

	"tanba/tokens"
)

// PackSecrets returns two secrets as the payload of a ChangePIN or UnblockPIN
// request: two bytes with the length of the first, big-endian, the first, the
// second. The caller wipes it. Each has at most tokens.MaxPIN bytes.
func PackSecrets(first, second tokens.PIN) ([]byte, error) {
	a, b := first.Bytes(), second.Bytes()
	if len(a) > tokens.MaxPIN || len(b) > tokens.MaxPIN {
		return nil, fmt.Errorf("secrets of %d and %d bytes, the bound is %d: %w", len(a), len(b), tokens.MaxPIN, ErrMalformed)
	}
	out := make([]byte, 0, 2+len(a)+len(b))
	out = binary.BigEndian.AppendUint16(out, uint16(len(a)))
	return append(append(out, a...), b...), nil
}

// UnpackSecrets is the reverse of PackSecrets. The secrets stand in payload
// itself: wiping that wipes them.
func UnpackSecrets(payload []byte) (first, second tokens.PIN, err error) {
	if len(payload) >= 2 {
		n := int(binary.BigEndian.Uint16(payload))
		rest := payload[2:]
		if n <= len(rest) && n <= tokens.MaxPIN && len(rest)-n <= tokens.MaxPIN {
			return tokens.NewPIN(rest[:n:n]), tokens.NewPIN(rest[n:]), nil
		}
	}
	return tokens.PIN{}, tokens.PIN{}, fmt.Errorf("%w: secrets", ErrMalformed)
}

func (s *server) setPIN(ctx context.Context, q Request, payload []byte) error {
	d, ok := s.driver.(tokens.PINChanger)
	if !ok {
		return tokens.ErrNoPINChange
	}
	first, second, err := UnpackSecrets(payload)
	if err != nil {
		return err
	}
	if q.Op == UnblockPIN {
		return d.UnblockPIN(ctx, q.Token, first, second)
	}
	return d.ChangePIN(ctx, q.Token, first, second)
}
