package main

/*
#include <io.h>
*/
import "C"

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// harden keeps the loader to System32, our own folder and the folders that a
// load names, never the working directory or PATH.
func harden() error {
	if err := windows.SetDefaultDllDirectories(windows.LOAD_LIBRARY_SEARCH_DEFAULT_DIRS); err != nil {
		return fmt.Errorf("SetDefaultDllDirectories: %w", err)
	}
	return windows.SetDllDirectory("")
}

// takeOutput returns standard output for us alone. What a library prints goes
// to standard error instead, whether through the C runtime that it shares
// with us (its descriptor 1) or through one of its own (the standard handle).
func takeOutput() (*os.File, error) {
	p := windows.CurrentProcess()
	var h windows.Handle
	if err := windows.DuplicateHandle(p, windows.Handle(os.Stdout.Fd()), p, &h, 0, false, windows.DUPLICATE_SAME_ACCESS); err != nil {
		return nil, fmt.Errorf("standard output: %w", err)
	}
	// Descriptor 2 may be absent in a program without a console; then there is
	// nothing to print to either.
	_ = C._dup2(2, 1)
	if err := windows.SetStdHandle(windows.STD_OUTPUT_HANDLE, windows.Handle(os.Stderr.Fd())); err != nil {
		return nil, fmt.Errorf("standard output: %w", err)
	}
	return os.NewFile(uintptr(h), "wire"), nil
}
