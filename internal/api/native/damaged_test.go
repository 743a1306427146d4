package native_test

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store"
)

// damagedAPI returns a server with two endpoints, and their ids. In the database, one
// bit of a value of the first endpoint is flipped.
func damagedAPI(t *testing.T, table, column string) (h *testAPI, bad, good string) {
	t.Helper()
	dir := t.TempDir()
	ring, err := seal.New(bytes.Repeat([]byte{7}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	same := func(a *app.Options, o *store.Options) { o.Dir, o.Keys, a.AllowReveal = dir, ring, true }
	h = newTestAPI(t, same)
	h.tenant("acme")
	for _, id := range []*string{&bad, &good} {
		*id = want[client.Endpoint](h, 201, call{"POST", "/v1/endpoints", liveKey, client.NewEndpoint{Tenant: "acme", EventTypes: []string{"*"},
			URL: "https://hooks.example.com/in?tok=1", Headers: map[string]string{"X-Token": "v"}}, nil}).ID
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "posthorn.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	key := map[string]string{"endpoints": "id", "secrets": "endpoint"}[table]
	var value []byte
	id, _ := hook.ParseID(bad)
	if err := db.QueryRowContext(t.Context(), "SELECT "+column+" FROM "+table+" WHERE "+key+" = ?", id[:]).Scan(&value); err != nil {
		t.Fatal(err)
	}
	value[len(value)-1] ^= 1
	if _, err := db.ExecContext(t.Context(), "UPDATE "+table+" SET "+column+" = ? WHERE "+key+" = ?", value, id[:]); err != nil {
		t.Fatal(err)
	}
	return newTestAPI(t, same), bad, good
}

// A damaged endpoint is shown as damaged, alone and in lists. It affects no other
// endpoint, and the API can repair or delete it.
func TestDamagedEndpointByAPI(t *testing.T) {
	for _, c := range []struct {
		table, column string
		useless, mend call
	}{
		{"endpoints", "headers_sealed", call{method: "PATCH", body: `{"title":"x","url":"https://hooks.example.com/in?tok=1"}`}, call{method: "PATCH", body: `{"headers":{"X-Token":"n"}}`}},
		{"endpoints", "headers_sealed", call{method: "PATCH", body: `{"headers":{}}`}, call{method: "PATCH", body: `{"headers":null}`}},
		{"endpoints", "query_sealed", call{method: "PATCH", body: `{"enabled":true}`}, call{method: "PATCH", body: `{"url":"https://hooks.example.com/in?tok=2"}`}},
		{"endpoints", "query_sealed", call{method: "PATCH", body: `{"headers":{"X-Token":"n"}}`}, call{method: "PATCH", body: `{"url":"https://hooks.example.com/in"}`}},
		{"secrets", "sealed", call{method: "PATCH", body: `{"rate_limit":5}`}, call{method: "POST", path: "/secret/rotate"}},
	} {
		h, bad, good := damagedAPI(t, c.table, c.column)
		state := func() (enabled bool, reason string) {
			t.Helper()
			e := want[client.Endpoint](h, 200, call{method: "GET", path: "/v1/endpoints/" + bad, key: liveKey})
			if e.DisabledReason != nil {
				reason = *e.DisabledReason
			}
			return e.Enabled, reason
		}
		act := func(status int, c call) {
			t.Helper()
			c.path, c.key = "/v1/endpoints/"+bad+c.path, liveKey
			if w := h.do(c); w.Code != status {
				t.Errorf("%s %s %v: %d %s", c.method, c.path, c.body, w.Code, w.Body)
			}
		}
		damaged := func(when string) {
			t.Helper()
			for reason, id := range map[string]string{"damaged": bad, "by_hand": ""} {
				list := want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints?disabled_reason="+reason)).Data
				if found := len(list) == 1 && list[0].ID == id; found != (id != "") || id == "" && len(list) != 0 {
					t.Errorf("%s: the endpoints that are %s: %+v", when, reason, list)
				}
			}
			if enabled, reason := state(); enabled || reason != "damaged" {
				t.Errorf("%s %s: enabled %v, reason %q", c.column, when, enabled, reason)
			}
		}
		damaged("at first")
		list := want[client.Page[client.Endpoint]](h, 200, call{method: "GET", path: "/v1/endpoints?enabled=true", key: liveKey}).Data
		if len(list) != 1 || list[0].ID != good {
			t.Errorf("%s: %d endpoints are listed as enabled", c.column, len(list))
		}
		if all := want[client.Page[client.Endpoint]](h, 200, call{method: "GET", path: "/v1/endpoints", key: liveKey}).Data; len(all) != 2 || all[1].Enabled {
			t.Errorf("%s: list %+v", c.column, all)
		}
		if out := h.event("acme", "a.b"); out.DeliveryCount != 2 {
			t.Errorf("%s: %d deliveries", c.column, out.DeliveryCount)
		}
		if c.table == "secrets" {
			act(409, call{method: "POST", path: "/secret/reveal"})
			act(409, call{method: "POST", path: "/secret/expire"})
		}
		act(200, c.useless)
		damaged("after " + c.useless.body.(string))
		act(200, c.mend)
		if enabled, reason := state(); !enabled || reason != "" {
			t.Errorf("%s mended: enabled %v, reason %q", c.column, enabled, reason)
		}
		h, bad, _ = damagedAPI(t, c.table, c.column)
		act(204, call{method: "DELETE"})
	}
}
