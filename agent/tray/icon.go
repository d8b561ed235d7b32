package tray

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
)

// The icon is drawn from signed distances: a shape is a function that tells
// how far a point is outside it (negative inside), in a square of 32 by 32.
type shape func(x, y float64) float64

func disc(cx, cy, r float64) shape {
	return func(x, y float64) float64 { return math.Hypot(x-cx, y-cy) - r }
}

func box(x0, y0, x1, y1, round float64) shape {
	cx, cy, hx, hy := (x0+x1)/2, (y0+y1)/2, (x1-x0)/2-round, (y1-y0)/2-round
	return func(x, y float64) float64 {
		dx, dy := math.Abs(x-cx)-hx, math.Abs(y-cy)-hy
		return math.Hypot(math.Max(dx, 0), math.Max(dy, 0)) + math.Min(math.Max(dx, dy), 0) - round
	}
}

// line is a stroke of width w through the points, given as x, y, x, y.
func line(w float64, p ...float64) shape {
	return func(x, y float64) float64 {
		best := math.Inf(1)
		for i := 0; i+3 < len(p); i += 2 {
			ax, ay, bx, by := p[i], p[i+1], p[i+2], p[i+3]
			t := ((x-ax)*(bx-ax) + (y-ay)*(by-ay)) / ((bx-ax)*(bx-ax) + (by-ay)*(by-ay))
			t = math.Min(1, math.Max(0, t))
			best = math.Min(best, math.Hypot(x-ax-t*(bx-ax), y-ay-t*(by-ay)))
		}
		return best - w/2
	}
}

type layer struct {
	shape shape
	color color.NRGBA
}

var (
	green = color.NRGBA{0x0b, 0x5a, 0x57, 0xff} // the pages' own
	white = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	amber = color.NRGBA{0xf2, 0x9d, 0x1b, 0xff}
	red   = color.NRGBA{0xc6, 0x28, 0x28, 0xff}
	slate = color.NRGBA{0x37, 0x47, 0x4f, 0xff}
	blue  = color.NRGBA{0x1f, 0x5f, 0xbf, 0xff}
)

// mark is Tanba's sign: a clan mark on a seal, a stem under a bow.
func mark(ground color.NRGBA) []layer {
	return []layer{
		{box(1, 1, 31, 31, 8), ground},
		{line(3.4, 8, 9, 8, 12, 11, 15, 21, 15, 24, 12, 24, 9), white},
		{line(3.4, 16, 15, 16, 25), white},
		{line(3.4, 11.5, 25, 20.5, 25), white},
	}
}

func layers(s State) []layer {
	switch s {
	case Waiting: // a large dot with a bang: something waits for you
		return append(mark(green), layer{disc(24, 24, 9), white}, layer{disc(24, 24, 7.6), amber},
			layer{line(2.6, 24, 19.5, 24, 24.5), white}, layer{disc(24, 28, 1.5), white})
	case Signing: // three dots: at work
		return append(mark(green), layer{disc(24, 24, 9), white}, layer{disc(24, 24, 7.6), slate},
			layer{disc(20, 24, 1.5), white}, layer{disc(24, 24, 1.5), white}, layer{disc(28, 24, 1.5), white})
	case Delivering: // an arrow upwards
		return append(mark(green), layer{disc(24, 24, 9), white}, layer{line(2.8, 24, 29.5, 24, 19), blue}, layer{line(2.8, 19.5, 23, 24, 18.5, 28.5, 23), blue})
	case Attention: // a triangle
		tri := func(x, y float64) float64 {
			return math.Max(math.Max((x-24)*0.894+(y-13.5)*-0.447, (24-x)*0.894+(y-13.5)*-0.447), y-31)
		}
		return append(mark(green), layer{func(x, y float64) float64 { return tri(x, y) - 1.2 }, white}, layer{tri, red},
			layer{line(2.2, 24, 20.5, 24, 25.5), white}, layer{disc(24, 28.6, 1.3), white})
	}
	return mark(green)
}

// PNG returns the icon of a state, size by size pixels, as a PNG file.
func PNG(s State, size int) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	scale := 32 / float64(size)
	for py := range size {
		for px := range size {
			x, y := (float64(px)+0.5)*scale, (float64(py)+0.5)*scale
			var r, g, b, a float64 // premultiplied, 0 to 1
			for _, l := range layers(s) {
				cover := math.Min(1, math.Max(0, 0.5-l.shape(x, y)/scale))
				r = r*(1-cover) + cover*float64(l.color.R)/255
				g = g*(1-cover) + cover*float64(l.color.G)/255
				b = b*(1-cover) + cover*float64(l.color.B)/255
				a = a*(1-cover) + cover
			}
			if a > 0 {
				img.SetNRGBA(px, py, color.NRGBA{byte(r / a * 255), byte(g / a * 255), byte(b / a * 255), byte(a * 255)})
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		panic(err) // a bytes.Buffer does not fail
	}
	return out.Bytes()
}
