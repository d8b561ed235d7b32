package paper

import "strings"

// A font is one of the standard fonts with the widths of the characters from
// space to tilde, in thousandths of the size (Adobe's Core 14 metrics).
type font struct {
	name   string
	widths *[95]int16
}

var (
	regular = font{"F1", &[95]int16{
		278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
		556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
		1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
		667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
		333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
		556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
	}}
	bold = font{"F2", &[95]int16{
		278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278,
		556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611,
		975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778,
		667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556,
		333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611,
		611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
	}}
)

// width returns the width of t in points.
func width(f font, size float64, t string) float64 {
	sum := 0
	for _, b := range []byte(encode(t)) {
		if b >= ' ' && b <= '~' {
			sum += int(f.widths[b-' '])
			continue
		}
		sum += 556 // what most other characters of WinAnsi are
	}
	return float64(sum) * size / 1000
}

// wrap breaks t at spaces into lines of at most wide points. A longer word
// stands alone.
func wrap(f font, size, wide float64, t string) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(t) {
		switch {
		case line == "":
			line = word
		case width(f, size, line+" "+word) <= wide:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// winAnsi holds the characters of WinAnsiEncoding outside Latin-1 that our
// texts use.
var winAnsi = map[rune]byte{'€': 0x80, '…': 0x85, '‘': 0x91, '’': 0x92, '“': 0x93, '”': 0x94, '•': 0x95, '–': 0x96, '—': 0x97}

// encode turns UTF-8 into WinAnsiEncoding.
func encode(t string) string {
	var b strings.Builder
	for _, r := range t {
		c, special := winAnsi[r]
		switch {
		case special:
			b.WriteByte(c)
		case r >= ' ' && r <= '~' || r >= 0xa0 && r <= 0xff:
			b.WriteByte(byte(r))
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// escape makes an encoded text safe inside ( ) of a PDF string.
func escape(t string) string { return strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(t) }
