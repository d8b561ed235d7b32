package delivery

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a file name on disk, in bytes.
const maxName = 180

// safeName makes a file name harmless on every system: no folder, stream,
// control or bidirectional characters, no device name, no leading dot, no
// trailing dot or space, at most maxName bytes with the extension kept.
func safeName(name string) string {
	name = strings.ToValidUTF8(name, "_")
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`<>:"|?*`, r):
			return '_'
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		}
		return r
	}, name)
	name = strings.TrimRight(strings.TrimLeft(name, ". "), ". ")
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= 16 {
		stem, ext = name[:i], name[i:]
	}
	for len(stem) > maxName-len(ext) {
		_, n := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-n]
	}
	if isDevice(stem) {
		stem = "_" + stem
	}
	if stem == "" {
		stem = "document"
	}
	return stem + ext
}

// isDevice says whether Windows takes the name for a device, whatever follows
// its first dot.
func isDevice(stem string) bool {
	s, _, _ := strings.Cut(strings.ToUpper(stem), ".")
	s = strings.TrimRight(s, " ")
	switch s {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	rest, ok := strings.CutPrefix(s, "COM")
	if !ok {
		rest, ok = strings.CutPrefix(s, "LPT")
	}
	return ok && len([]rune(rest)) == 1 && strings.ContainsAny(rest, "0123456789¹²³")
}
