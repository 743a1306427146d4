// Package redact replaces values of a JSON text by JSON pointers (RFC 6901), for texts that
// people are shown.
//
// It guarantees that every byte outside the replaced values stays as it is, that a text is
// read once however many pointers there are, and that it returns no text if it cannot read
// one to the end. It knows nothing of events and of who may see them.
package redact

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of pointers.
const (
	MaxPointers = 100
	maxBytes    = 512
	maxLevels   = 64 // as deep as data may be
)

// Mask stands for a value that is not shown.
const Mask = `"***"`

// Rules are compiled pointers. They are immutable.
type Rules struct{ root node }

// node is a place in a text. A nil node is a place that no pointer leads through.
type node struct {
	pointer string // that ends here; empty: none
	next    map[string]*node
}

// Fault is why a pointer was refused.
type Fault struct {
	Index int
	Why   string
}

// Error returns why.
func (f *Fault) Error() string { return fmt.Sprintf("pointer %d %s", f.Index, f.Why) }

// Compile checks and compiles pointers. An error is a *Fault. Rules of no pointers are nil,
// and redact nothing.
func Compile(pointers []string) (*Rules, error) {
	if len(pointers) > MaxPointers {
		return nil, &Fault{MaxPointers, fmt.Sprintf("is one too many: there may be %d", MaxPointers)}
	}
	if len(pointers) == 0 {
		return nil, nil
	}
	r := &Rules{}
	for i, pointer := range pointers {
		tokens, why := parse(pointer)
		if why != "" {
			return nil, &Fault{i, why}
		}
		at := &r.root
		for _, token := range tokens {
			if at.next == nil {
				at.next = map[string]*node{}
			}
			if at.next[token] == nil {
				at.next[token] = &node{}
			}
			at = at.next[token]
		}
		if at.pointer != "" {
			return nil, &Fault{i, "is there twice"}
		}
		at.pointer = pointer
	}
	return r, nil
}

// parse returns the names of a pointer, or why it is none that can be used.
func parse(pointer string) (tokens []string, why string) {
	switch {
	case pointer == "":
		return nil, "is empty, which means the whole data: name its members"
	case pointer[0] != '/':
		return nil, "does not begin with a slash"
	case len(pointer) > maxBytes:
		return nil, fmt.Sprintf("is longer than %d bytes", maxBytes)
	case strings.Count(pointer, "/") > maxLevels:
		return nil, fmt.Sprintf("has more than %d levels, and data has no more", maxLevels)
	case strings.ToValidUTF8(pointer, "") != pointer:
		return nil, "is not UTF-8"
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		for i := range len(token) {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return nil, "has a ~ that is not ~0 (for ~) or ~1 (for /)"
			}
		}
		tokens = append(tokens, strings.NewReplacer("~1", "/", "~0", "~").Replace(token))
	}
	return tokens, ""
}

var errText = errors.New("the text is not a JSON value that can be redacted")

// Text returns a copy of a JSON text with the values that the pointers name replaced by
// Mask, and those pointers, in the order of the text. Without any it returns the text.
func (r *Rules) Text(text []byte) ([]byte, []string, error) {
	if r == nil {
		return text, nil, nil
	}
	w := walk{text: text, d: jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	if err := w.value(&r.root); err != nil {
		return nil, nil, errors.Join(errText, err)
	}
	if len(w.found) == 0 {
		return text, nil, nil
	}
	return append(w.out, text[w.copied:]...), w.found, nil
}

type walk struct {
	text   []byte
	d      *jsontext.Decoder
	out    []byte
	copied int // of the text
	found  []string
}

// value reads the next value, through which the pointers of a node lead.
func (w *walk) value(at *node) error {
	if at.pointer != "" {
		value, err := w.d.ReadValue()
		if err != nil {
			return err
		}
		end := int(w.d.InputOffset())
		w.out = append(append(w.out, w.text[w.copied:end-len(value)]...), Mask...)
		w.copied, w.found = end, append(w.found, at.pointer)
		return nil
	}
	kind := w.d.PeekKind()
	if at.next == nil || kind != '{' && kind != '[' {
		return w.d.SkipValue()
	}
	if _, err := w.d.ReadToken(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		switch w.d.PeekKind() {
		case '}', ']':
			_, err := w.d.ReadToken()
			return err
		}
		name := strconv.Itoa(i)
		if kind == '{' {
			token, err := w.d.ReadToken()
			if err != nil {
				return err
			}
			name = token.String()
		}
		next := at.next[name]
		if next == nil {
			next = &node{}
		}
		if err := w.value(next); err != nil {
			return err
		}
	}
}
