package main

import "golang.org/x/sys/windows"

// hardenProcess makes the loader look for libraries in the system's folder
// and the program's own alone, so that none is planted elsewhere.
func hardenProcess() {
	const searchSystem32, searchApplication = 0x800, 0x200
	_, _, _ = windows.NewLazySystemDLL("kernel32.dll").NewProc("SetDefaultDllDirectories").Call(searchSystem32 | searchApplication)
}
