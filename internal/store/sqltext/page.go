package sqltext

import (
	"encoding/base64"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	defaultLimit = 50
	maxLimit     = 250
)

// LimitOf returns the number of rows of a page: 50 by default, at most 250.
func LimitOf(p hook.Page) int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// BeforeOf decodes the cursor. It returns the n ids of the last row of the previous page.
// At the start of the list, all bytes of the ids are 0xff.
func BeforeOf(p hook.Page, n int) ([]hook.ID, error) {
	ids := make([]hook.ID, n)
	if p.Cursor == "" {
		for i := range ids {
			for j := range ids[i] {
				ids[i][j] = 0xff
			}
		}
		return ids, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || len(text) != 16*n {
		return nil, &hook.Error{Code: hook.CodeInvalidRequest, Field: "cursor", Message: "The cursor is not one of this list."}
	}
	for i := range ids {
		copy(ids[i][:], text[16*i:])
	}
	return ids, nil
}

// CursorOf returns the cursor after the row with these ids, which BeforeOf decodes.
func CursorOf(ids ...hook.ID) string { return hook.CursorAt(ids...) }
