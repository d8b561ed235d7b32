//go:build !linux && !darwin && !windows

package main

import (
	"errors"
	"os"
)

func harden() error { return errors.New("not supported on this system") }

func takeOutput() (*os.File, error) { return nil, errors.New("not supported on this system") }
