//go:build !linux && !darwin && !windows

package pages

import (
	"context"
	"errors"
)

// openSystem is not supported here.
func openSystem(context.Context, string) error {
	return errors.New("unsupported: opening a browser on this system")
}
