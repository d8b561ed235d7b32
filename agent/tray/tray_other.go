//go:build !linux && !windows

package tray

import "context"

const supported = false

func run(context.Context, <-chan Status, Status, func(Action)) error { return ErrUnsupported }
