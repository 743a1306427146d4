package paysway_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/api/isolationtest"
	"github.com/posthorn/posthorn/internal/hook"
)

// victims returns a world in which the tenant "victim" has a subscription in live mode.
func victims(t *testing.T) isolationtest.World {
	t.Helper()
	h := newTestAPI(t, "paysway", 20)
	key := h.tenant("victim", hook.Live)
	token := h.token(key)
	made := h.has(h.api("POST", path, token, `{"title":"canary-title","url":"https://example.com/canary-url","events":["RECIPIENT.CREATED"]}`), 201, withSecret()...)
	id, _ := made["id"].(string)
	secret, _ := made["secret"].(string)
	revoked := h.tenant("victim", hook.Live)
	dead := h.token(revoked)
	if err := h.service.RevokeKey(t.Context(), h.operator, revoked.ID); err != nil {
		t.Fatal(err)
	}
	ghost := h.token(h.tenant("ghost", hook.Live))
	if err := h.service.DeleteTenant(t.Context(), h.operator, "ghost"); err != nil {
		t.Fatal(err)
	}
	// Another tenant and the tenant's own test mode create and list their own objects.
	theirs := []string{"another tenant", "the tenant in test mode"}
	one := path + "/" + id
	return isolationtest.World{
		Handler: h.handler,
		Routes:  []string{"POST " + path, "GET " + path, "GET " + path + "/{id}", "PATCH " + path + "/{id}", "DELETE " + path + "/{id}"},
		Rows: []isolationtest.Row{
			{Route: "POST " + path, Path: path, Body: good, Owner: "the tenant", Lawful: theirs},
			{Route: "GET " + path, Path: path, Owner: "the tenant", Lawful: theirs},
			{Route: "GET " + path + "/{id}", Path: one, Owner: "the tenant"},
			{Route: "PATCH " + path + "/{id}", Path: one, Body: `{"title":"taken","enabled":false}`, Owner: "the tenant"},
			{Route: "DELETE " + path + "/{id}", Path: one, Owner: "the tenant"},
		},
		Owners: []isolationtest.Identity{isolationtest.Bearer("the tenant", token)},
		Foreign: []isolationtest.Identity{
			{Name: "nobody"},
			isolationtest.Bearer("an empty token", ""),
			isolationtest.Bearer("a mistyped token", token[:len(token)-1]+map[bool]string{true: "b", false: "a"}[token[len(token)-1] == 'a']),
			isolationtest.Bearer("the key itself", key.Text),
			isolationtest.Bearer("a token of a revoked key", dead),
			isolationtest.Bearer("a token of a deleted tenant", ghost),
			isolationtest.Bearer("another tenant", h.token(h.tenant("other", hook.Live))),
			isolationtest.Bearer("the tenant in test mode", h.token(h.tenant("victim", hook.Test))),
		},
		Canaries: []string{id, secret, "canary-"},
		Audited:  isolationtest.AuditedRows(h.db),
		Hash: func() string {
			sum, err := isolationtest.HashRows(h.db, "victim", int(hook.Live))
			if err != nil {
				t.Fatal(err)
			}
			return sum
		},
	}
}

func TestIsolation(t *testing.T) { isolationtest.Run(t, victims(t)) }

// TestIsolationControl shows that the same calls have visible effects when they
// succeed.
func TestIsolationControl(t *testing.T) { isolationtest.Control(t, len(victims(t).Rows), victims) }
