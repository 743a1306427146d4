package hook

import "strings"

const mask = "***"

// MaskURL returns the URL for display and logs: the values of the query, a
// fragment and what stands before an @ in the authority are replaced by ***,
// because they often hold tokens. It takes any text, also one that is no URL.
func MaskURL(raw string) string {
	if i := strings.IndexByte(raw, '#'); i >= 0 {
		raw = raw[:i] + "#" + mask
	}
	head, query, hasQuery := strings.Cut(raw, "?")
	if start := strings.Index(head, "//"); start >= 0 {
		authority, path := head[start+2:], ""
		if i := strings.IndexByte(authority, '/'); i >= 0 {
			authority, path = authority[:i], authority[i:]
		}
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			head = head[:start+2] + mask + authority[i:] + path
		}
	}
	if !hasQuery {
		return head
	}
	var b strings.Builder
	b.WriteString(head)
	for i, pair := range strings.Split(query, "&") {
		b.WriteByte("?&"[min(i, 1)])
		name, _, hasValue := strings.Cut(pair, "=")
		switch {
		case hasValue:
			b.WriteString(name + "=" + mask)
		case pair != "":
			b.WriteString(mask) // a lone word can be the token itself
		}
	}
	return b.String()
}
