package paywise

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	defaultLimit = 100
	maxLimit     = 250
	maxOffset    = 1 << 31
)

// page is a list in paywise's format: a part of the list, the total number, and the
// addresses of the adjacent parts.
type page[T any] struct {
	Count    int     `json:"count"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []T     `json:"results"`
}

// readQuery parses the parameters of a list. What cannot be parsed is refused: if it
// were ignored, a filter would be missing.
func readQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &failure{status: http.StatusBadRequest, detail: "The query string cannot be read: its parameters must be percent-encoded."}
	}
	return query, nil
}

// readWindow reads limit and offset. A limit above the maximum is reduced to the
// maximum.
func readWindow(query url.Values) (hook.Window, error) {
	limit, err := number(query, "limit", defaultLimit, 1)
	if err != nil {
		return hook.Window{}, err
	}
	offset, err := number(query, "offset", 0, 0)
	return hook.Window{Offset: offset, Limit: min(limit, maxLimit)}, err
}

func number(query url.Values, name string, absent, least int) (int, error) {
	text, given, err := single(query, name)
	if err != nil || !given {
		return absent, err
	}
	n, bad := strconv.ParseUint(text, 10, 31)
	if bad != nil || int(n) < least || int(n) >= maxOffset {
		return 0, invalid(name, "This parameter must be a whole number from "+strconv.Itoa(least)+" on.")
	}
	return int(n), nil
}

// single returns the only value of a parameter. It must not be empty.
func single(query url.Values, name string) (text string, given bool, err error) {
	switch values := query[name]; len(values) {
	case 0:
		return "", false, nil
	case 1:
		if values[0] == "" {
			return "", true, invalid(name, "This parameter may not be empty.")
		}
		return values[0], true, nil
	}
	return "", false, invalid(name, "This parameter is given more than once.")
}

func paged[T any](r *http.Request, w hook.Window, count int, results []T) page[T] {
	out := page[T]{Count: count, Results: results}
	if w.Offset+w.Limit < count {
		out.Next = link(r, w.Limit, w.Offset+w.Limit)
	}
	if w.Offset > 0 {
		out.Previous = link(r, w.Limit, max(w.Offset-w.Limit, 0))
	}
	return out
}

// link returns the absolute URL of another part of the list. Behind a proxy that
// terminates TLS, the scheme is the one that the proxy reports; it appears only in the
// caller's own response.
func link(r *http.Request, limit, offset int) *string {
	query := r.URL.Query()
	query.Set("limit", strconv.Itoa(limit))
	query.Del("offset")
	if offset > 0 {
		query.Set("offset", strconv.Itoa(offset))
	}
	to := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: query.Encode()}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		to.Scheme = "https"
	}
	text := to.String()
	return &text
}
