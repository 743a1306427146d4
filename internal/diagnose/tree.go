package diagnose

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
)

// node is a JSON value that keeps its raw text, so that it can be rewritten in another style
// with everything else unchanged.
type node struct {
	raw   []byte // of a scalar
	open  byte   // '{' or '[' for a container, otherwise 0
	items []item
	inner []byte // white space in an empty container
}

// item is a member or an element together with the white space around it.
type item struct {
	pre, post []byte
	name      []byte // quoted; nil in an array
	colon     []byte // the colon with its surrounding white space
	value     *node
}

// parseTree parses one JSON value and returns it with the white space before and after it.
// root is nil if the text is not JSON.
func parseTree(text []byte) (root *node, before, after []byte) {
	if !json.Valid(text) {
		return nil, nil, nil
	}
	s := &scanner{text: text}
	before = s.space()
	root = s.value()
	return root, before, s.space()
}

// depth returns the number of levels in the node, including the node.
func (n *node) depth() int {
	deepest := 0
	for _, it := range n.items {
		deepest = max(deepest, it.value.depth())
	}
	return deepest + 1
}

// scanner scans a text that is known to be JSON.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() []byte {
	from := s.at
	for s.at < len(s.text) && bytes.IndexByte([]byte(" \t\r\n"), s.text[s.at]) >= 0 {
		s.at++
	}
	return s.text[from:s.at]
}

func (s *scanner) value() *node {
	switch open := s.text[s.at]; open {
	case '{', '[':
		s.at++
		return s.container(open)
	case '"':
		return &node{raw: s.str()}
	}
	from := s.at
	for s.at < len(s.text) && bytes.IndexByte([]byte(" \t\r\n,]}"), s.text[s.at]) < 0 {
		s.at++
	}
	return &node{raw: s.text[from:s.at]}
}

func (s *scanner) str() []byte {
	from := s.at
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
	return s.text[from:s.at]
}

func (s *scanner) container(open byte) *node {
	n := &node{open: open}
	pre := s.space()
	if c := s.text[s.at]; c == '}' || c == ']' {
		s.at++
		n.inner = pre
		return n
	}
	for {
		it := item{pre: pre}
		if open == '{' {
			it.name = s.str()
			from := s.at
			s.space()
			s.at++ // the colon
			s.space()
			it.colon = s.text[from:s.at]
		}
		it.value = s.value()
		it.post = s.space()
		n.items = append(n.items, it)
		s.at++ // the comma or the closing bracket
		if s.text[s.at-1] != ',' {
			return n
		}
		pre = s.space()
	}
}

// layout is a way of placing white space. The zero layout keeps the existing white space.
type layout struct {
	set          bool
	indent       string // "" means all on one line
	colon, comma string // the colon with its spaces; the text after a comma
}

// ordering rearranges the members of an object. A nil ordering keeps their order.
type ordering func(path string, items []item) []item

// style is one way to write a JSON text.
type style struct {
	layout  layout
	order   ordering
	strings func(dst, quoted []byte) []byte // nil: unchanged
	numbers func(dst, number []byte) []byte // nil: unchanged
	data    *layout                         // of the event's data inside an envelope with another layout; nil: the same layout
	dataAt  string                          // the path of the data, or of the object into which it is spread
	own     map[string]bool                 // the members beside spread data; nil if it is not spread
}

func (s *style) append(dst []byte, n *node, depth int, path string) []byte {
	if n.open == 0 {
		return s.scalar(dst, n.raw)
	}
	if s.data != nil && s.own == nil && path == s.dataAt {
		return s.inside().append(dst, n, 0, path)
	}
	dst = append(dst, n.open)
	items := n.items
	if n.open == '{' && s.order != nil {
		items = s.order(path, items)
	}
	spread := 0 // members of spread data so far
	for i, it := range items {
		// White space belongs to the position, not to the member that moved there.
		place := n.items[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		how, nth := s, i
		if s.own != nil && s.data != nil && path == s.dataAt && !s.own[string(it.name)] {
			how, nth = s.inside(), spread
			spread++
		}
		dst = how.before(dst, place.pre, nth, depth+1)
		below := path
		if it.name != nil {
			dst = how.text(dst, it.name)
			dst = how.colon(dst, place.colon)
			below = path + "/" + string(it.name)
		}
		dst = how.append(dst, it.value, depth+1, below)
		if !s.layout.set {
			dst = append(dst, place.post...)
		}
	}
	switch {
	case len(items) == 0 && !s.layout.set:
		dst = append(dst, n.inner...)
	case len(items) > 0 && s.layout.indent != "":
		dst = s.newline(dst, depth)
	}
	return append(dst, n.open+2) // each closing bracket is two code points after its opening bracket
}

// inside returns the style of the event's data.
func (s *style) inside() *style {
	in := *s
	in.layout, in.data, in.own = *s.data, nil, nil
	return &in
}

func (s *style) before(dst, kept []byte, i, depth int) []byte {
	switch {
	case !s.layout.set:
		return append(dst, kept...)
	case s.layout.indent != "":
		return s.newline(dst, depth)
	case i > 0:
		return append(dst, s.layout.comma...)
	}
	return dst
}

func (s *style) colon(dst, kept []byte) []byte {
	if s.layout.set {
		return append(dst, s.layout.colon...)
	}
	return append(dst, kept...)
}

func (s *style) newline(dst []byte, depth int) []byte {
	dst = append(dst, '\n')
	for range depth {
		dst = append(dst, s.layout.indent...)
	}
	return dst
}

func (s *style) scalar(dst, raw []byte) []byte {
	switch {
	case raw[0] == '"':
		return s.text(dst, raw)
	case s.numbers != nil && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'):
		return s.numbers(dst, raw)
	}
	return append(dst, raw...)
}

func (s *style) text(dst, quoted []byte) []byte {
	if s.strings == nil {
		return append(dst, quoted...)
	}
	return s.strings(dst, quoted)
}

// byName sorts members as most libraries do, by the bytes of their names.
func byName(_ string, items []item) []item {
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b item) int { return bytes.Compare(a.name, b.name) })
	return sorted
}

// like orders members as in a sample. Members that the sample lacks go last.
func like(sample *node) ordering {
	places := map[string]int{}
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		for i, it := range n.items {
			below := path
			if it.name != nil {
				below = path + "/" + string(it.name)
				places[below] = i + 1
			}
			walk(it.value, below)
		}
	}
	walk(sample, "")
	return func(path string, items []item) []item {
		sorted := slices.Clone(items)
		slices.SortStableFunc(sorted, func(a, b item) int {
			return cmp.Compare(place(places, path, a), place(places, path, b))
		})
		return sorted
	}
}

func place(places map[string]int, path string, it item) int {
	if at := places[path+"/"+string(it.name)]; at > 0 {
		return at
	}
	return 1 << 30
}
