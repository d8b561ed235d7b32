package main

import "golang.org/x/sys/unix"

// hardenProcess keeps the process's memory, in which a PIN may stand, out of
// core files and from other processes of the user.
func hardenProcess() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
