package remote

import (
	"slices"
	"strings"
)

// inherited are the variables that a token process gets of ours: a home and
// folders for a library's own settings, the language of its windows, the
// display for its PIN window, and where a soft token lives. What steers the
// loader (LD_PRELOAD, DYLD_*) or the Go runtime is not among them.
var inherited = []string{
	"HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
	"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME",
	"DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS",
	"SOFTHSM2_CONF", "SOFTTOKEN_DIR", "PCSCLITE_CSOCK_NAME", "TMPDIR",
	// Windows
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "TEMP", "TMP", "USERNAME", "USERPROFILE", "USERDOMAIN",
	"APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "ALLUSERSPROFILE", "PROGRAMFILES", "PROGRAMFILES(X86)",
	"COMMONPROGRAMFILES", "COMMONPROGRAMFILES(X86)", "COMPUTERNAME", "HOMEDRIVE", "HOMEPATH",
}

// environment picks from env what a token process gets.
func environment(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, ok := strings.Cut(e, "=")
		if ok && slices.Contains(inherited, strings.ToUpper(name)) {
			out = append(out, e)
		}
	}
	return out
}
