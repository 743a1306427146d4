package portal

import (
	"fmt"
	"math"
	"strconv"
)

// Palette is an accent as the pages use it: one set of colours for each theme, as #rrggbb.
type Palette struct {
	Light, Dark Shades
	// Adjusted reports that the accent itself was not readable as text in both themes.
	Adjusted bool
}

// Shades are the colours of one theme.
type Shades struct {
	Link  string // text on every background of the theme
	Solid string // below white text
	Hover string // Solid under the pointer
	Tint  string // background of what is chosen
}

// The backgrounds of the two themes, as in the style sheet.
var (
	lightGrounds = []rgb{{0xff, 0xff, 0xff}, {0xf6, 0xf7, 0xf9}, {0xf0, 0xf2, 0xf6}}
	darkGrounds  = []rgb{{0x15, 0x1c, 0x26}, {0x0d, 0x12, 0x19}, {0x1a, 0x23, 0x30}}
)

// readable is the contrast that text needs (WCAG 2.2, 1.4.3).
const readable = 4.5

// Colors returns the palette of an accent written as #rrggbb. ok is false if it is not.
func Colors(accent string) (p Palette, ok bool) {
	c, ok := parse(accent)
	if !ok {
		return p, false
	}
	light, dark := shades(c, lightGrounds, -1), shades(c, darkGrounds, 1)
	p.Light, p.Dark = light, dark
	same := c.String()
	p.Adjusted = light.Link != same && dark.Link != same || light.Solid != same
	return p, true
}

// shades moves the accent towards black (way -1) or white until it is readable as text.
func shades(accent rgb, grounds []rgb, way int) Shades {
	tint := mix(accent, grounds[0], 0.10)
	grounds = append([]rgb{tint}, grounds...)
	link := accent
	for step := 0; step <= 100 && lowest(link, grounds) < readable; step++ {
		link = accent.towards(way, float64(step)/100)
	}
	white := rgb{0xff, 0xff, 0xff}
	solid := accent
	for step := 0; step <= 100 && contrast(solid, white) < readable; step++ {
		solid = accent.towards(-1, float64(step)/100)
	}
	return Shades{Link: link.String(), Solid: solid.String(), Hover: solid.towards(-1, 0.14).String(), Tint: tint.String()}
}

func lowest(c rgb, grounds []rgb) float64 {
	least := math.Inf(1)
	for _, g := range grounds {
		least = min(least, contrast(c, g))
	}
	return least
}

type rgb [3]uint8

func parse(text string) (c rgb, ok bool) {
	if len(text) != 7 || text[0] != '#' {
		return c, false
	}
	n, err := strconv.ParseUint(text[1:], 16, 32)
	return rgb{uint8(n >> 16), uint8(n >> 8), uint8(n)}, err == nil
}

// String returns #rrggbb.
func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// towards mixes the color with black (way -1) or white (way 1).
func (c rgb) towards(way int, part float64) rgb {
	end := rgb{}
	if way > 0 {
		end = rgb{0xff, 0xff, 0xff}
	}
	return mix(end, c, part)
}

// mix returns part of a and the rest of b.
func mix(a, b rgb, part float64) (c rgb) {
	for i := range c {
		c[i] = uint8(math.Round(float64(a[i])*part + float64(b[i])*(1-part)))
	}
	return c
}

// contrast is the contrast ratio of WCAG 2.2.
func contrast(a, b rgb) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(c rgb) float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v := float64(c[i]) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}
