package diagnose

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escapes is a way of escaping characters in JSON strings.
type escapes struct {
	ascii bool   // everything outside ASCII becomes \uXXXX
	upper bool   // with upper-case hex digits
	also  string // further characters that become \uXXXX
	slash bool   // a slash becomes \/
}

var shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// rewrite re-encodes a quoted string.
func (e escapes) rewrite(dst, quoted []byte) []byte {
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return append(dst, quoted...)
	}
	dst = append(dst, '"')
	for _, r := range text {
		switch short := shortEscapes[r]; {
		case strings.ContainsRune(e.also, r), r < ' ' && short == "", e.ascii && r >= utf8.RuneSelf:
			dst = e.unicode(dst, r)
		case short != "":
			dst = append(dst, short...)
		case r == '/' && e.slash:
			dst = append(dst, `\/`...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

func (e escapes) unicode(dst []byte, r rune) []byte {
	format := `\u%04x`
	if e.upper {
		format = `\u%04X`
	}
	if r < 0x10000 {
		return fmt.Appendf(dst, format, r)
	}
	r -= 0x10000 // a surrogate pair (RFC 8259, section 7)
	return fmt.Appendf(dst, format+format, 0xd800+r>>10, 0xdc00+r&0x3ff)
}

// shortest formats a number as JavaScript does.
func shortest(dst, number []byte) []byte {
	f, ok := float(number)
	if !ok {
		return append(dst, number...)
	}
	if size := math.Abs(f); f != 0 && (size < 1e-6 || size >= 1e21) {
		text := strconv.FormatFloat(f, 'e', -1, 64)
		text = strings.Replace(strings.Replace(text, "e-0", "e-", 1), "e+0", "e+", 1)
		return append(dst, text...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// wholeWithPoint formats whole numbers as 5.0.
func wholeWithPoint(dst, number []byte) []byte {
	if strings.ContainsAny(string(number), ".eE") {
		return append(dst, number...)
	}
	return append(append(dst, number...), ".0"...)
}

// centsOfFractions formats 1202.5 as 1202.50 and leaves whole numbers unchanged.
func centsOfFractions(dst, number []byte) []byte {
	if !strings.Contains(string(number), ".") {
		return append(dst, number...)
	}
	return cents(dst, number)
}

// cents formats every number with two decimals.
func cents(dst, number []byte) []byte {
	f, ok := float(number)
	if !ok || math.Abs(f) >= 1e15 {
		return append(dst, number...)
	}
	return strconv.AppendFloat(dst, f, 'f', 2, 64)
}

func float(number []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(number), 64)
	return f, err == nil
}
