package svix

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

const defaultLimit, maxLimit = 50, 250

// page is a list in Svix's format.
type page[T any] struct {
	Data         []T     `json:"data"`
	Iterator     *string `json:"iterator"`
	PrevIterator *string `json:"prevIterator,omitempty"`
	Done         bool    `json:"done"`
}

// window is the part of a list that a request asks for.
type window struct {
	limit     int
	from      string // the page is next to this item; empty: the beginning
	back      bool   // before the item, not after it
	ascending bool   // the order of the list
}

// window reads limit, iterator and order.
func (v query) window(ascending bool) (window, error) {
	w := window{ascending: ascending}
	limit, err := v.number("limit")
	if err != nil {
		return w, err
	}
	if w.limit = limit; limit < 0 {
		w.limit = defaultLimit
	}
	if w.limit < 1 || w.limit > maxLimit {
		return w, wrongPart("query", "limit", "limit must be 1 to 250")
	}
	w.from, w.back = strings.CutPrefix(url.Values(v).Get("iterator"), "-")
	switch url.Values(v).Get("order") {
	case "":
	case "ascending":
		w.ascending = true
	case "descending":
		w.ascending = false
	default:
		return w, wrongPart("query", "order", "order must be ascending or descending")
	}
	return w, nil
}

func badIterator() error {
	return wrongPart("query", "iterator", "iterator is not one of this list")
}

// onlyForward refuses the way back in lists that cannot go it.
func (w window) onlyForward() error {
	if w.back {
		return wrongPart("query", "iterator", "This list goes forward only. Begin again without an iterator.")
	}
	return nil
}

// pageOf returns a page. idOf returns the iterator of an item.
func pageOf[T any](data []T, done bool, idOf func(T) string) page[T] {
	p := page[T]{Data: data, Done: done}
	if n := len(data); n > 0 {
		last, first := idOf(data[n-1]), "-"+idOf(data[0])
		p.Iterator, p.PrevIterator = &last, &first
	}
	if p.Data == nil {
		p.Data = []T{}
	}
	return p
}

// cut returns a page of a whole list that is sorted by its keys, ascending. from is the key
// of the iterator's item, which need not be in the list.
func cut[T any](all []T, w window, from string, keyOf func(T) string) ([]T, bool) {
	all = slices.Clone(all)
	sign := 1
	if !w.ascending {
		slices.Reverse(all)
		sign = -1
	}
	begin, end := 0, len(all)
	if w.from != "" {
		at, found := slices.BinarySearchFunc(all, from, func(item T, key string) int { return sign * cmp.Compare(keyOf(item), key) })
		if w.back {
			end = at
			begin = max(0, end-w.limit)
			return all[begin:end], begin == 0
		}
		if begin = at; found {
			begin++
		}
	}
	end = min(end, begin+w.limit)
	return all[begin:end], end == len(all)
}
