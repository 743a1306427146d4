package diagnose

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"hash/maphash"
	"slices"
	"strings"
	"unicode/utf8"
)

var utf8BOM = []byte("\xef\xbb\xbf")

// searchBudget limits the bytes that one search writes and hashes. It allows about two
// seconds of work for a large body, and all combinations for a typical one.
const searchBudget = 64 << 20

// maxDepth limits the nesting of rewritten bodies. Publishing accepts 64 levels, and
// indentation grows with the square of the depth.
const maxDepth = 128

// choice is one variant on an axis. says completes "The signature fits the body with ...".
type choice struct {
	says  string
	style func(*style)
	bytes func(body []byte) []byte
}

// axes returns the ways in which the same JSON can be written differently. Choices on
// different axes combine.
func axes(sample *node) [][]choice {
	dataAt, own, found := placeOfData(sample)
	text := func(says string, e escapes) choice {
		return choice{says: says, style: func(s *style) { s.strings = e.rewrite }}
	}
	number := func(says string, write func(dst, number []byte) []byte) choice {
		return choice{says: says, style: func(s *style) { s.numbers = write }}
	}
	place := func(says string, l layout) choice {
		return choice{says: says, style: func(s *style) { s.layout = l }}
	}
	layouts := []choice{
		place("no white space between tokens (compact JSON)", compact),
		place("an indent of 2 spaces (pretty JSON)", layout{set: true, indent: "  ", colon: ": "}),
		place("an indent of 4 spaces (pretty JSON)", layout{set: true, indent: "    ", colon: ": "}),
		place("a space after each colon and comma, as Python writes it", layout{set: true, colon: ": ", comma: " "}),
		place("an indent of tabs (pretty JSON)", layout{set: true, indent: "\t", colon: ": "}),
	}
	if found {
		for _, c := range layouts[1:] { // the sender's data is in a compact envelope as it was published
			layouts = append(layouts, choice{says: c.says + " in the event's data alone", style: func(s *style) {
				c.style(s)
				inside := s.layout
				s.layout, s.data, s.dataAt, s.own = compact, &inside, dataAt, own
			}})
		}
	}
	orders := []choice{{says: "its members sorted by name", style: func(s *style) { s.order = byName }}}
	if sample != nil {
		inOrder := like(sample)
		orders = append(orders, choice{says: "its members in the order of the profile", style: func(s *style) { s.order = inOrder }})
	}
	return [][]choice{
		{
			{says: "CRLF line ends", bytes: toCRLF},
			{says: "LF line ends instead of CRLF", bytes: toLF},
		},
		{
			{says: "no white space around it, such as a newline at its end", bytes: bytes.TrimSpace},
			{says: "a newline at its end", bytes: ending("\n")},
			{says: "CRLF at its end", bytes: ending("\r\n")},
		},
		{
			{says: "no byte order mark before it", bytes: func(b []byte) []byte { return bytes.TrimPrefix(b, utf8BOM) }},
			{says: "a byte order mark before it", bytes: func(b []byte) []byte { return append(bytes.Clone(utf8BOM), b...) }},
		},
		layouts,
		orders,
		{
			text("no needless escapes in its strings (no \\u003c, \\u00e9 or \\/)", escapes{}),
			text("characters outside ASCII escaped (\\u00e9)", escapes{ascii: true}),
			text("<, > and & escaped for HTML (\\u003c)", escapes{also: "<>&\u2028\u2029"}),
			text("slashes escaped (\\/)", escapes{slash: true}),
			text("slashes and characters outside ASCII escaped, as PHP does", escapes{ascii: true, slash: true}),
			text("characters outside ASCII and those of HTML escaped in capitals, as .NET does", escapes{ascii: true, upper: true, also: "<>&'+\"`"}),
		},
		{
			number("its numbers in the shortest form (1.0 as 1, 1e3 as 1000)", shortest),
			number("whole numbers with a decimal point (1 as 1.0)", wholeWithPoint),
			number("two decimals on its fractions (1.5 as 1.50)", centsOfFractions),
			number("two decimals on every number", cents),
		},
	}
}

var compact = layout{set: true, colon: ":"}

// placeOfData finds the event's data in an envelope: either at a path of its own, or spread
// into the object at the path, beside the envelope's own members.
func placeOfData(sample *node) (path string, own map[string]bool, found bool) {
	var walk func(n *node, at string)
	walk = func(n *node, at string) {
		if i := slices.IndexFunc(n.items, func(it item) bool { return string(it.name) == `"`+sampleMember+`"` }); i >= 0 {
			path, found = at, true
			for j, it := range n.items {
				if j != i {
					if own == nil {
						own = map[string]bool{}
					}
					own[string(it.name)] = true
				}
			}
		}
		for _, it := range n.items {
			walk(it.value, at+"/"+string(it.name))
		}
	}
	if sample == nil {
		return "", nil, false
	}
	walk(sample, "")
	return path, own, found && (own != nil || path != "") // otherwise the data is the entire body
}

func toLF(b []byte) []byte   { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }
func toCRLF(b []byte) []byte { return bytes.ReplaceAll(toLF(b), []byte("\n"), []byte("\r\n")) }

func ending(with string) func([]byte) []byte {
	return func(b []byte) []byte { return append(bytes.Clone(b), with...) }
}

// wrappings are other forms in which an entire body is passed on.
var wrappings = []choice{
	{says: "its base64 undone", bytes: func(b []byte) []byte {
		raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(b)))
		if err != nil {
			return b
		}
		return raw
	}},
	{says: "its JSON quoting undone (the body was encoded twice)", bytes: func(b []byte) []byte {
		var inner string
		if json.Unmarshal(b, &inner) != nil {
			return b
		}
		return []byte(inner)
	}},
	{says: "its UTF-8 encoded once, not twice (it was read as Latin-1)", bytes: func(b []byte) []byte {
		raw := make([]byte, 0, len(b))
		for text := b; len(text) > 0; {
			r, size := utf8.DecodeRune(text)
			if r > 0xff || r == utf8.RuneError {
				return b
			}
			raw, text = append(raw, byte(r)), text[size:]
		}
		return raw
	}},
}

// search tries the body in other forms, those with the fewest changes first. It returns the
// changes that made fits return true, or "" if none did.
func search(body []byte, sample *node, fits func(body []byte) bool) string {
	r := &rewriter{body: body, axes: axes(sample), fits: fits, left: searchBudget, seen: map[uint64]bool{}, seed: maphash.MakeSeed()}
	r.root, r.head, r.tail = parseTree(bytes.TrimPrefix(body, utf8BOM))
	if r.root != nil && r.root.depth() > maxDepth {
		r.root = nil
	}
	r.mark = bytes.HasPrefix(body, utf8BOM)
	r.try(body) // known not to match; forms equal to it then cost nothing
	for _, w := range wrappings {
		if r.try(w.bytes(body)) {
			return w.says
		}
	}
	for changes := 1; changes <= len(r.axes); changes++ {
		if found := r.combine(0, changes, nil); found != nil {
			var says []string
			for _, c := range found {
				says = append(says, c.says)
			}
			return strings.Join(says, ", and ")
		}
	}
	return ""
}

type rewriter struct {
	body       []byte
	axes       [][]choice
	fits       func([]byte) bool
	root       *node // nil if the body is not JSON
	head, tail []byte
	mark       bool // the body starts with a byte order mark
	left       int
	seen       map[uint64]bool
	seed       maphash.Seed
}

// combine tries all ways to make exactly the given number of further changes, from the given
// axis on.
func (r *rewriter) combine(axis, changes int, taken []choice) []choice {
	if changes == 0 {
		if r.left > 0 && r.try(r.write(taken)) {
			return taken
		}
		return nil
	}
	for ; axis+changes <= len(r.axes); axis++ {
		for _, c := range r.axes[axis] {
			if c.style != nil && r.root == nil {
				continue
			}
			if found := r.combine(axis+1, changes-1, append(taken, c)); found != nil {
				return found
			}
		}
	}
	return nil
}

func (r *rewriter) write(taken []choice) []byte {
	text := r.body
	s := &style{}
	styled := false
	for _, c := range taken {
		if c.style != nil {
			c.style(s)
			styled = true
		}
	}
	if styled {
		text = make([]byte, 0, len(r.body)+len(r.body)/4)
		if r.mark {
			text = append(text, utf8BOM...)
		}
		text = append(text, r.head...)
		text = s.append(text, r.root, 0, "")
		text = append(text, r.tail...)
	}
	for _, c := range taken {
		if c.bytes != nil {
			text = c.bytes(text)
		}
	}
	return text
}

func (r *rewriter) try(text []byte) bool {
	r.left -= len(text) + 64
	key := maphash.Bytes(r.seed, text)
	if r.seen[key] {
		return false
	}
	r.seen[key] = true
	return r.fits(text)
}
