package wire

import (
	"errors"
	"fmt"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// Bounds of one List reply.
const (
	maxTokens     = 64
	maxIdentities = 256
	maxChain      = 256
	maxAlgorithms = 32
)

// A Token is a tokens.Token in a frame.
type Token struct {
	ID            string          `json:"id"`
	Label         string          `json:"label,omitempty"`
	Serial        string          `json:"serial,omitempty"`
	Manufacturer  string          `json:"manufacturer,omitempty"`
	Model         string          `json:"model,omitempty"`
	Library       string          `json:"library"`
	PIN           tokens.PINState `json:"pin"`
	PUK           tokens.PINState `json:"puk,omitempty"`
	ProtectedPath bool            `json:"protectedPath,omitempty"`
	MinPIN        int             `json:"minPin,omitempty"`
	MaxPIN        int             `json:"maxPin,omitempty"`
	// Chain holds every issuer certificate of the token once, in DER.
	Chain      [][]byte   `json:"chain,omitempty"`
	Identities []Identity `json:"identities,omitempty"`
}

// An Identity is a tokens.Identity in a frame.
type Identity struct {
	ID          string `json:"id"`
	Certificate []byte `json:"certificate"` // DER
	// Chain holds places in Token.Chain.
	Chain              []int              `json:"chain,omitempty"`
	Algorithms         []sigalg.Algorithm `json:"algorithms,omitempty"`
	Label              string             `json:"label,omitempty"`
	AlwaysAuthenticate bool               `json:"alwaysAuthenticate,omitempty"`
	Problem            string             `json:"problem,omitempty"`
}

// An Event is a tokens.Event in a frame.
type Event struct {
	Kind    tokens.EventKind `json:"kind"`
	TokenID string           `json:"tokenId,omitempty"`
}

// EncodeTokens returns list for a frame.
func EncodeTokens(list []tokens.Token) []Token {
	out := make([]Token, 0, len(list))
	for _, t := range list {
		w := Token{
			ID: t.ID, Label: t.Label, Serial: t.Serial, Manufacturer: t.Manufacturer, Model: t.Model,
			Library: t.Library, PIN: t.PIN, PUK: t.PUK, ProtectedPath: t.ProtectedPath, MinPIN: t.MinPIN, MaxPIN: t.MaxPIN,
		}
		place := map[string]int{}
		for _, i := range t.Identities {
			wi := Identity{
				ID: i.ID, Certificate: i.Certificate.Raw, Algorithms: i.Algorithms, Label: i.Label,
				AlwaysAuthenticate: i.AlwaysAuthenticate, Problem: i.Problem,
			}
			for _, c := range i.Chain {
				n, ok := place[string(c.Raw)]
				if !ok {
					n = len(w.Chain)
					place[string(c.Raw)] = n
					w.Chain = append(w.Chain, c.Raw)
				}
				wi.Chain = append(wi.Chain, n)
			}
			w.Identities = append(w.Identities, wi)
		}
		out = append(out, w)
	}
	return out
}

// DecodeTokens is the reverse of EncodeTokens. It returns ErrMalformed for
// what a token process that works cannot have sent.
func DecodeTokens(list []Token) ([]tokens.Token, error) {
	if len(list) > maxTokens {
		return nil, fmt.Errorf("%w: %d tokens", ErrMalformed, len(list))
	}
	out := make([]tokens.Token, 0, len(list))
	for _, w := range list {
		t, err := w.token()
		if err != nil {
			return nil, errors.Join(ErrMalformed, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (w *Token) token() (tokens.Token, error) {
	for _, s := range []string{w.ID, w.Label, w.Serial, w.Manufacturer, w.Model} {
		if len(s) > maxText || clean(s) != s {
			return tokens.Token{}, errors.New("text of a token")
		}
	}
	switch {
	case w.ID == "", len(w.Library) > 8*maxText, !pinStates[w.PIN], w.PUK != "" && !pinStates[w.PUK], w.MinPIN < 0, w.MaxPIN < 0:
		return tokens.Token{}, errors.New("field of a token")
	case len(w.Identities) > maxIdentities, len(w.Chain) > maxChain:
		return tokens.Token{}, errors.New("too many certificates")
	}
	t := tokens.Token{
		ID: w.ID, Label: w.Label, Serial: w.Serial, Manufacturer: w.Manufacturer, Model: w.Model,
		Library: w.Library, PIN: w.PIN, PUK: w.PUK, ProtectedPath: w.ProtectedPath, MinPIN: w.MinPIN, MaxPIN: w.MaxPIN,
	}
	chain := make([]*cert.Certificate, len(w.Chain))
	for i, der := range w.Chain {
		c, err := cert.Parse(der)
		if err != nil {
			return t, err
		}
		chain[i] = c
	}
	for _, wi := range w.Identities {
		i, err := wi.identity(w.ID, chain)
		if err != nil {
			return t, err
		}
		t.Identities = append(t.Identities, i)
	}
	return t, nil
}

func (w *Identity) identity(tokenID string, chain []*cert.Certificate) (tokens.Identity, error) {
	for _, s := range []string{w.ID, w.Label, w.Problem} {
		if len(s) > maxText || clean(s) != s {
			return tokens.Identity{}, errors.New("text of an identity")
		}
	}
	if w.ID == "" || len(w.Chain) > len(chain) || len(w.Algorithms) > maxAlgorithms {
		return tokens.Identity{}, errors.New("field of an identity")
	}
	c, err := cert.Parse(w.Certificate)
	if err != nil {
		return tokens.Identity{}, err
	}
	i := tokens.Identity{
		ID: w.ID, TokenID: tokenID, Certificate: c, Algorithms: w.Algorithms, Label: w.Label,
		AlwaysAuthenticate: w.AlwaysAuthenticate, Problem: w.Problem,
	}
	for _, a := range w.Algorithms {
		if !a.Known() {
			return i, fmt.Errorf("algorithm %q", a)
		}
	}
	for _, n := range w.Chain {
		if n < 0 || n >= len(chain) {
			return i, errors.New("place in a chain")
		}
		i.Chain = append(i.Chain, chain[n])
	}
	return i, nil
}
