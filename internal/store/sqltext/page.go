package sqltext

import (
	"encoding/base64"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	defaultLimit = 50
	maxLimit     = 250
)

// LimitOf returns how many rows a page has: 50 unless it says otherwise, at most 250.
func LimitOf(p hook.Page) int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// BeforeOf reads the cursor: the n ids of the last row that was handed out, all
// ones at the start of the list.
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

// CursorOf makes the cursor that BeforeOf reads, after the row with these ids.
func CursorOf(ids ...hook.ID) string {
	var text []byte
	for _, id := range ids {
		text = append(text, id[:]...)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
