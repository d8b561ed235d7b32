package keyring

import (
	"context"

	"tanba/tokens"
)

// ChangePIN implements tokens.PINChanger for whichever driver has the token.
func (k *Keyring) ChangePIN(ctx context.Context, tokenID string, old, fresh tokens.PIN) error {
	return k.setPIN(ctx, tokenID, func(c tokens.PINChanger) error { return c.ChangePIN(ctx, tokenID, old, fresh) })
}

// UnblockPIN implements tokens.PINChanger for whichever driver has the token.
func (k *Keyring) UnblockPIN(ctx context.Context, tokenID string, puk, fresh tokens.PIN) error {
	return k.setPIN(ctx, tokenID, func(c tokens.PINChanger) error { return c.UnblockPIN(ctx, tokenID, puk, fresh) })
}

// CanSetPIN reports whether the driver of a token that is listed can set PINs
// at all: a key file's password is another matter.
func (k *Keyring) CanSetPIN(tokenID string) bool {
	s := k.holder(tokenID)
	if s == nil {
		return false
	}
	_, ok := s.driver.(tokens.PINChanger)
	return ok
}

// holder returns the driver that listed a token last, nil if none did.
func (k *Keyring) holder(tokenID string) *slot {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.slots {
		for i := range s.list {
			if s.list[i].ID == tokenID {
				return s
			}
		}
	}
	return nil
}

func (k *Keyring) setPIN(ctx context.Context, tokenID string, set func(tokens.PINChanger) error) error {
	s := k.holder(tokenID)
	if s == nil {
		if _, err := k.List(ctx); err != nil {
			return err
		}
		if s = k.holder(tokenID); s == nil {
			return tokens.ErrNotPresent
		}
	}
	c, ok := s.driver.(tokens.PINChanger)
	if !ok {
		return tokens.ErrNoPINChange
	}
	// Whatever came of it, the PIN's state may be another one.
	defer func() {
		k.spoil(s, false)
		k.tell()
	}()
	err := set(c)
	if err == nil {
		k.mu.Lock()
		delete(k.factory, tokenID)
		k.mu.Unlock()
	}
	return err
}

// opened notes whether the PIN that opened an identity's token is one that
// tokens are delivered with.
func (k *Keyring) opened(s *slot, identityID string, factory bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range s.list {
		for _, i := range t.Identities {
			if i.ID != identityID {
				continue
			}
			if factory {
				k.factory[t.ID] = true
			} else {
				delete(k.factory, t.ID)
			}
		}
	}
}
