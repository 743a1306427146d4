package paysway_test

import (
	"bytes"
	"encoding/base64"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

const grant = "grant_type"

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestTokens(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	k := h.tenant("acme", hook.Live)
	id := k.ID.String()
	got := h.form("", grant, "client_credentials", "client_id", id, "client_secret", k.Text)
	v := h.has(got, 200, "access_token", "expires_in", "token_type")
	if v["token_type"] != "Bearer" || v["expires_in"] != 3600.0 || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %v", v, got.header)
	}
	first, _ := v["access_token"].(string)
	second := h.has(h.form(basic(id, k.Text), grant, "client_credentials", "scope", "x"), 200, "access_token", "expires_in", "token_type")["access_token"].(string)
	if first == second || len(first) < 43 {
		t.Errorf("%q %q", first, second)
	}
	for _, token := range []string{first, second} {
		h.has(h.api("GET", path, token, ""), 200, "items")
	}
	// Only hashes are stored; the control finds what is stored in plain text.
	var text []byte
	rows, err := h.db.QueryContext(t.Context(), "SELECT hash, key FROM oauth_tokens")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var hash, key []byte
		if err := rows.Scan(&hash, &key); err != nil {
			t.Fatal(err)
		}
		text = append(append(text, hash...), key...)
	}
	_ = rows.Close()
	if bytes.Contains(text, []byte(first[4:20])) || !bytes.Contains(text, k.ID[:]) {
		t.Error("the table holds the text of a token, or not the id of its key")
	}
}

func TestTokensAreAudited(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	key := h.tenant("acme", hook.Live)
	h.token(key)
	rows, _, err := h.service.AuditEntries(t.Context(), h.operator, hook.AuditQuery{})
	if err != nil || len(rows) != 2 || rows[0].Act != hook.ActTokenIssued || rows[0].Actor.ID != key.ID.String() || rows[0].Actor.Address != "127.0.0.1" {
		t.Errorf("%v %+v", err, rows)
	}
}

func TestTokenRefusals(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	k, other, sibling := h.tenant("acme", hook.Live), h.tenant("other", hook.Live), h.tenant("acme", hook.Live)
	publisher, _, err := h.service.CreateKey(t.Context(), h.operator, hook.Key{Kind: hook.Publisher, Tenant: "acme"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	operator, _, err := h.service.CreateKey(t.Context(), h.operator, hook.Key{Kind: hook.Operator, Tenant: ""}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := k.ID.String()
	before := h.rows()
	invalid := "AUTH_INVALID_CLIENT_CREDENTIALS"
	for name, c := range map[string]struct {
		answer
		status int
		code   string
	}{
		"no grant":        {h.form("", "client_id", id, "client_secret", k.Text), 400, "AUTH_UNSUPPORTED_GRANT_TYPE"},
		"other grant":     {h.form("", grant, "password", "client_id", id, "client_secret", k.Text), 400, "AUTH_UNSUPPORTED_GRANT_TYPE"},
		"two grants":      {h.form("", grant, "client_credentials", grant, "client_credentials"), 400, "BAD_REQUEST"},
		"no credentials":  {h.form("", grant, "client_credentials"), 401, "AUTH_MISSING_CLIENT_CREDENTIALS"},
		"no secret":       {h.form("", grant, "client_credentials", "client_id", id), 401, "AUTH_MISSING_CLIENT_CREDENTIALS"},
		"no id":           {h.form("", grant, "client_credentials", "client_secret", k.Text), 401, "AUTH_MISSING_CLIENT_CREDENTIALS"},
		"wrong secret":    {h.form("", grant, "client_credentials", "client_id", id, "client_secret", k.Text+"x"), 401, invalid},
		"another's":       {h.form("", grant, "client_credentials", "client_id", id, "client_secret", other.Text), 401, invalid},
		"a sibling's":     {h.form("", grant, "client_credentials", "client_id", id, "client_secret", sibling.Text), 401, invalid},
		"id is no id":     {h.form("", grant, "client_credentials", "client_id", "x", "client_secret", k.Text), 401, invalid},
		"publisher":       {h.form("", grant, "client_credentials", "client_id", publisher.ID.String(), "client_secret", publisher.Text), 401, invalid},
		"operator":        {h.form("", grant, "client_credentials", "client_id", operator.ID.String(), "client_secret", operator.Text), 401, invalid},
		"wrong basic":     {h.form(basic(id, "x"), grant, "client_credentials"), 401, invalid},
		"broken basic":    {h.form("Basic ?", grant, "client_credentials"), 401, "AUTH_MISSING_CLIENT_CREDENTIALS"},
		"both places":     {h.form(basic(id, k.Text), grant, "client_credentials", "client_secret", k.Text), 400, "BAD_REQUEST"},
		"two ids":         {h.form(basic(id, k.Text), grant, "client_credentials", "client_id", other.ID.String()), 400, "BAD_REQUEST"},
		"JSON":            {h.do("POST", "/oauth2/token", "", "application/json", `{"grant_type":"client_credentials"}`), 400, "BAD_REQUEST"},
		"not a form":      {h.do("POST", "/oauth2/token", "", "application/x-www-form-urlencoded", "%zz"), 400, "BAD_REQUEST"},
		"in the query":    {h.do("POST", "/oauth2/token?grant_type=client_credentials&client_id="+id+"&client_secret="+k.Text, "", "", ""), 400, "AUTH_UNSUPPORTED_GRANT_TYPE"},
		"GET":             {h.do("GET", "/oauth2/token", "", "", ""), 405, "BAD_REQUEST"},
		"no such route":   {h.do("POST", "/oauth2/revoke", "", "", ""), 404, "NOT_FOUND"},
		"no header":       {h.do("GET", path, "", "", ""), 401, "AUTH_TOKEN_NOT_FOUND"},
		"other scheme":    {h.do("GET", path, basic(id, k.Text), "", ""), 401, "AUTH_TOKEN_INVALID"},
		"empty":           {h.do("GET", path, "Bearer ", "", ""), 401, "AUTH_TOKEN_INVALID"},
		"a key's text":    {h.api("GET", path, k.Text, ""), 401, "AUTH_TOKEN_INVALID"},
		"unknown token":   {h.api("GET", path, "pht_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg", ""), 401, "AUTH_TOKEN_INVALID"},
		"unknown, wrong":  {h.api("PUT", path, "x", "x"), 401, "AUTH_TOKEN_INVALID"},
		"unknown, absent": {h.api("GET", path+"/x", "x", ""), 401, "AUTH_TOKEN_INVALID"},
	} {
		h.refused(name, c.answer, c.status, c.code, "")
		if c.status == 401 && c.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", name)
		}
	}
	if h.rows() != before {
		t.Error("a refused request changed something")
	}
	h.token(k) // control: valid credentials work
	if h.rows() == before {
		t.Error("the hash over the rows did not see a token")
	}
}

// A token ends after an hour, with its key and with its tenant, immediately. Expired
// tokens are deleted from the table.
func TestTokensEnd(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	k, stays := h.tenant("acme", hook.Live), h.tenant("acme", hook.Live)
	token, kept := h.token(k), h.token(stays)
	h.has(h.api("GET", path, token, ""), 200, "items")
	if err := h.service.RevokeKey(t.Context(), h.operator, k.ID); err != nil {
		t.Fatal(err)
	}
	h.refused("revoked", h.api("GET", path, token, ""), 401, "AUTH_TOKEN_INVALID", "")
	h.refused("revoked", h.form("", grant, "client_credentials", "client_id", k.ID.String(), "client_secret", k.Text), 401, "AUTH_INVALID_CLIENT_CREDENTIALS", "")
	h.ahead.Store(int64(app.TokenLifetime - 10*time.Second))
	h.has(h.api("GET", path, kept, ""), 200, "items")
	h.ahead.Store(int64(app.TokenLifetime + time.Second))
	h.refused("expired", h.api("GET", path, kept, ""), 401, "AUTH_TOKEN_INVALID", "")
	fresh := h.token(stays)
	if err := h.store.Housekeep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := h.db.QueryRowContext(t.Context(), "SELECT count(*) FROM oauth_tokens").Scan(&left); err != nil || left != 1 {
		t.Errorf("%d tokens left, %v; want the fresh one", left, err)
	}
	h.has(h.api("GET", path, fresh, ""), 200, "items")
	if err := h.service.DeleteTenant(t.Context(), h.operator, "acme"); err != nil {
		t.Fatal(err)
	}
	h.refused("tenant deleted", h.api("GET", path, fresh, ""), 401, "AUTH_TOKEN_INVALID", "")
}

// A client that requests a token for every call is refused and told to reuse it; no
// other client is.
func TestTokensAreThrottled(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	h.ahead.Store(int64(time.Hour)) // a clock that stands still would also do
	k, other := h.tenant("acme", hook.Live), h.tenant("other", hook.Live)
	for range 500 {
		got := h.form("", grant, "client_credentials", "client_id", k.ID.String(), "client_secret", "wrong")
		if got.status != 401 {
			t.Fatalf("%d: guesses must not shut the owner out", got.status)
		}
	}
	made := 0
	for range 90 {
		got := h.form("", grant, "client_credentials", "client_id", k.ID.String(), "client_secret", k.Text)
		if got.status == 200 {
			made++
			continue
		}
		if h.refused("throttled", got, 429, "AUTH_TOO_MANY_REQUESTS", ""); got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		break
	}
	if made < 60 || made > 75 {
		t.Errorf("%d tokens before the throttle", made)
	}
	h.token(other)
	h.ahead.Add(int64(time.Minute))
	h.token(k)
}

// An unavailable store is reported in PaySway's format, with Retry-After.
func TestStoreAway(t *testing.T) {
	h := newTestAPI(t, "paysway", 20)
	token := h.token(h.tenant("acme", hook.Live))
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	got := h.api("POST", path, token, good)
	if h.refused("closed", got, 503, "UNEXPECTED_ERROR", ""); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
