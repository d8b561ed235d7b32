package main

import "golang.org/x/sys/unix"

// hardenProcess keeps the process's memory, in which a PIN may stand, out of
// core files.
func hardenProcess() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }
