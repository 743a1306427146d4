package native

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// A cursor is the position at which a list continues. It is bound to its list: in front
// of the store's own cursor is a digest of the route, the filter and what the caller
// may see. The digest prevents the use of a cursor with another list by mistake, where
// rows would be missing. It is not a secret and grants no rights.

// bindingSize is the length of a digest in bytes; bindingLength is the length of its
// text.
const (
	bindingSize   = 6
	bindingLength = bindingSize * 4 / 3
)

// binding returns the digest of the list that the request reads. It does not cover the
// limit, which may change from page to page.
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

// unbound returns the store's part of a cursor that checkCursor accepted.
func unbound(cursor string) string { return cursor[min(len(cursor), bindingLength):] }
