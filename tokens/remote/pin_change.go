package remote

import (
	"context"

	"tanba/tokens"
	"tanba/tokens/wire"
)

// ChangePIN implements tokens.PINChanger.
func (d *Driver) ChangePIN(ctx context.Context, tokenID string, old, fresh tokens.PIN) error {
	return d.setPIN(ctx, wire.ChangePIN, tokens.SecretPIN, tokenID, old, fresh)
}

// UnblockPIN implements tokens.PINChanger.
func (d *Driver) UnblockPIN(ctx context.Context, tokenID string, puk, fresh tokens.PIN) error {
	return d.setPIN(ctx, wire.UnblockPIN, tokens.SecretPUK, tokenID, puk, fresh)
}

func (d *Driver) setPIN(ctx context.Context, op wire.Op, has tokens.Secret, tokenID string, first, fresh tokens.PIN) error {
	for secret, pin := range map[tokens.Secret]tokens.PIN{has: first, tokens.SecretNew: fresh} {
		if len(pin.Bytes()) > tokens.MaxPIN {
			return &tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, State: tokens.PINOK, Secret: secret}
		}
	}
	payload, err := wire.PackSecrets(first, fresh)
	if err != nil {
		return err
	}
	defer clear(payload)
	c, err := d.get(ctx)
	if err != nil {
		return err
	}
	c.secret.Add(1)
	defer c.secret.Add(-1)
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on the caller's patience does not count: a token process that is
	// killed between two PINs leaves the signer with neither.
	_, err = c.call(context.WithoutCancel(ctx), wire.Request{Op: op, Token: tokenID}, payload, d.cfg.Timeouts.Login)
	return err
}
