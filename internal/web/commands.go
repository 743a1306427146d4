package web

import (
	"net/url"
	"strings"
)

// flags returns the parts of a filter as flags of a command. "type:event-type" names a part
// and the flag for it.
func flags(filter map[string]string, names ...string) string {
	out := ""
	for _, name := range names {
		ours, theirs, ok := strings.Cut(name, ":")
		if !ok {
			theirs = ours
		}
		if value := filter[ours]; value != "" {
			out += " --" + theirs + " " + argument(value)
		}
	}
	return out
}

// argument quotes a value for a shell if it needs quotes.
func argument(value string) string {
	for _, r := range value {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-:/", r) {
			return quoted(value)
		}
	}
	return value
}

// queryOf returns the parts of a filter as a query of the API. "class:error" names a part
// and the parameter of the API for it.
func queryOf(filter map[string]string, names ...string) string {
	q := url.Values{}
	for _, name := range names {
		ours, theirs, ok := strings.Cut(name, ":")
		if !ok {
			theirs = ours
		}
		if value := filter[ours]; value != "" {
			q.Set(theirs, value)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}
