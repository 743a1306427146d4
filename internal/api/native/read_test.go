package native

import (
	"encoding/json"
	"testing"

	"github.com/posthorn/posthorn/internal/api/strict"
)

// This file is in the package because the reader is not exported.

// FuzzReadOne checks three properties. An accepted event is valid JSON. Its data is
// exactly the part of the text that the standard library finds. The strict decoder
// accepts the same texts.
func FuzzReadOne(f *testing.F) {
	for _, seed := range []string{`{"tenant":"a","type":"b","data":{}}`, ` {"data" : { "x" :1e400} ,"type":"b","tenant":"\u0061"} `,
		`{"tenant":"a","type":"b","data":{"a":1,"a":2}}`, `{"tenant":"a","type":"b","data":{},"id":null}`, `[]`, `{"`, "{\"data\":\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := readOne(text)
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatalf("%q passed: %v", text, err)
		}
		if string(members["data"]) != string(e.Data) {
			t.Fatalf("%q: data %q, want %q", text, e.Data, members["data"])
		}
		var again struct {
			Tenant    string          `json:"tenant"`
			Type      string          `json:"type"`
			Data      json.RawMessage `json:"data"`
			ID        *string         `json:"id"`
			CreatedAt *string         `json:"created_at"`
		}
		if err := strict.Decode(e.Data, &members); err != nil {
			t.Fatalf("%q passed, its data alone: %v", text, err)
		}
		if err := json.Unmarshal(text, &again); err != nil || again.Tenant != e.Tenant || again.Type != e.Type {
			t.Fatalf("%q: %v, %q %q", text, err, e.Tenant, e.Type)
		}
	})
}
