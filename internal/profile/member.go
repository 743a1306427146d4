package profile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of values that templates take out of the event's data, in bytes.
const (
	maxMemberValue  = 1024 // the raw JSON value, for the envelope
	maxHeaderValue  = 256  // the text of the value, for headers and signed content
	maxPointer      = 256
	maxPointerSteps = 16
	maxMemberUses   = 32 // in one profile; each use scans the data once
)

// memberPrefix starts the name of a value of the data, such as "event.data.invoice.id".
const memberPrefix = "event.data."

// pointerOf converts what follows memberPrefix into a JSON pointer (RFC 6901). The input is
// either names and numbers joined by dots, or a pointer, which starts with a slash.
func pointerOf(path string) (string, error) {
	pointer := path
	if !strings.HasPrefix(path, "/") {
		if path == "" || strings.HasPrefix(path, ".") || strings.HasSuffix(path, ".") || strings.Contains(path, "..") {
			return "", errors.New("has an empty part between dots")
		}
		pointer = "/" + strings.NewReplacer("~", "~0", "/", "~1", ".", "/").Replace(path)
	}
	switch {
	case len(pointer) > maxPointer:
		return "", fmt.Errorf("is longer than %d bytes", maxPointer)
	case strings.Count(pointer, "/") > maxPointerSteps:
		return "", fmt.Errorf("goes more than %d levels deep", maxPointerSteps)
	case !utf8.ValidString(pointer) || strings.ContainsFunc(pointer, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", errors.New("holds a control character or is not UTF-8")
	}
	for i := range len(pointer) {
		if pointer[i] == '~' && (i+1 == len(pointer) || pointer[i+1] != '0' && pointer[i+1] != '1') {
			return "", errors.New("has a ~ without 0 or 1 after it, which a JSON pointer does not allow")
		}
	}
	return pointer, nil
}

// CheckPointer returns an error if a text is not a JSON pointer (RFC 6901) to a member of
// the data, or is longer or deeper than templates may reach. The error continues a sentence:
// "is longer than 256 bytes".
func CheckPointer(pointer string) error {
	if !strings.HasPrefix(pointer, "/") {
		return errors.New("does not start with a slash")
	}
	_, err := pointerOf(pointer)
	return err
}

// TextAt returns the text of the string, number or boolean that a checked pointer refers
// to; a number is returned as it is written. It reports false for anything else, and for
// more than maxMemberValue bytes. The data must be a strict JSON object.
func TextAt(data []byte, pointer string) (string, bool) {
	value := scalarAt(data, pointer)
	if value == nil {
		return "", false
	}
	if value[0] != '"' {
		return string(value), true
	}
	text, err := jsontext.AppendUnquote(nil, value)
	return string(text), err == nil
}

// scalarAt returns the raw text of the string, number or boolean that the pointer refers to.
// It returns nil if there is none, or if the text exceeds maxMemberValue bytes. The data
// must be a strict JSON object, as publishing guarantees. scalarAt reads each byte at most
// once, and allocates nothing unless names are written with escapes.
func scalarAt(data []byte, pointer string) []byte {
	text := data[skipSpace(data, 0):]
	for rest := pointer; rest != "" && len(text) > 0; {
		var step string
		step, rest = cutStep(rest)
		text = child(text, step)
	}
	if len(text) == 0 || text[0] == '{' || text[0] == '[' || text[0] == 'n' {
		return nil
	}
	value := bytes.TrimSpace(text[:skipValue(text, 0)])
	if len(value) == 0 || len(value) > maxMemberValue || value[0] == '"' && (len(value) < 2 || value[len(value)-1] != '"') {
		return nil
	}
	return value
}

// cutStep removes the first reference token from a pointer.
func cutStep(pointer string) (step, rest string) {
	step = pointer[1:]
	if next := strings.IndexByte(step, '/'); next >= 0 {
		step, rest = step[:next], step[next:]
	}
	if strings.IndexByte(step, '~') >= 0 {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
	}
	return step, rest
}

// child returns the text from the value of a member or element on, or nil if there is none.
// The given text starts with the object or array and may extend beyond it.
func child(text []byte, step string) []byte {
	object, index := text[0] == '{', elementIndex(step)
	if !object && (text[0] != '[' || index < 0) {
		return nil
	}
	for i := skipSpace(text, 1); i < len(text) && text[i] != '}' && text[i] != ']'; index-- {
		found := !object && index == 0
		if object {
			after := skipString(text, i)
			found = isNamed(text[i:after], step)
			i = skipSpace(text, after)
			i = skipSpace(text, min(i+1, len(text))) // the colon
		}
		if found {
			return text[i:]
		}
		i = skipValue(text, i)
		if i >= len(text) || text[i] != ',' {
			return nil
		}
		i = skipSpace(text, i+1)
	}
	return nil
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the index of the byte that ends the value at i: a comma, a closing
// bracket or the end of the text.
func skipValue(text []byte, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipString(text, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// elementIndex parses an array index as defined by RFC 6901. It returns -1 for any other
// text.
func elementIndex(step string) int {
	if step == "" || len(step) > 6 || len(step) > 1 && step[0] == '0' {
		return -1
	}
	n := 0
	for i := range len(step) {
		if step[i] < '0' || step[i] > '9' {
			return -1
		}
		n = 10*n + int(step[i]-'0')
	}
	return n
}

// isNamed reports whether a quoted name of the data equals a plain name.
func isNamed(quoted []byte, name string) bool {
	if len(quoted) < 2 {
		return false
	}
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') >= 0 {
		plain, _ = jsontext.AppendUnquote(nil, quoted)
	}
	return string(plain) == name
}

// appendText appends a value in the form for headers: the text of a string, a number as it
// is written, true or false. It reports false for a value that is missing, longer than
// maxHeaderValue, not printable ASCII, has leading or trailing spaces, or contains one of
// the characters in without.
func appendText(dst, data []byte, pointer, without string) ([]byte, bool) {
	value := scalarAt(data, pointer)
	if value == nil {
		return dst, false
	}
	start := len(dst)
	if value[0] == '"' {
		var err error
		if dst, err = jsontext.AppendUnquote(dst, value); err != nil {
			return dst[:start], false
		}
	} else {
		dst = append(dst, value...)
	}
	text := dst[start:]
	if len(text) > maxHeaderValue || !visible(text) || len(bytes.TrimSpace(text)) != len(text) || bytes.ContainsAny(text, without) {
		return dst[:start], false
	}
	return dst, true
}
