package native

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// A cursor says where a list goes on. It is bound to its list: the route, the filter
// and what the caller may see stand in front of the store's own cursor, as a digest.
// The digest keeps a cursor from being used by mistake with another list, where it
// would leave rows out. It is no secret and gives nobody a right.

// bindingSize is the length of a digest, in bytes; bindingLength is that of its text.
const (
	bindingSize   = 6
	bindingLength = bindingSize * 4 / 3
)

// binding returns the digest of the list that the request asks for. The limit may
// change from page to page.
func (q *request) binding() string {
	filter := maps.Clone(q.query)
	filter.Del("cursor")
	filter.Del("limit")
	list := strings.Join([]string{q.URL.Path, filter.Encode(), q.caller.Mode.String(), q.caller.Tenant}, "\n")
	sum := sha256.Sum256([]byte(list))
	return base64.RawURLEncoding.EncodeToString(sum[:bindingSize])
}

// checkCursor refuses the cursor of another list.
func (q *request) checkCursor() error {
	cursor := q.query.Get("cursor")
	if cursor == "" || len(cursor) > bindingLength && strings.HasPrefix(cursor, q.binding()) {
		return nil
	}
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: "cursor",
		Message: "The cursor is not one of this list. Send it with the filter and the key that it was made with, or start without it."}
}

// unbound returns the store's part of a cursor that checkCursor let pass.
func unbound(cursor string) string { return cursor[min(len(cursor), bindingLength):] }
