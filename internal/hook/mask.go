package hook

import "strings"

const mask = "***"

// MaskURL returns the URL for display and logs. It replaces the values of the query, a
// fragment and the text before an @ in the authority by ***, because they often contain
// tokens. It accepts any text, even if it is not a URL.
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
			b.WriteString(mask) // a word without a name can be the token
		}
	}
	return b.String()
}
