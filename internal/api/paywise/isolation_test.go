package paywise_test

import (
	"net/http"
	"testing"

	"github.com/posthorn/posthorn/internal/api/isolationtest"
	"github.com/posthorn/posthorn/internal/hook"
)

// victims returns a world in which the tenant "victim" has an endpoint with a delivery
// in live mode, and a partner that may act for another company.
func victims(t *testing.T) isolationtest.World {
	t.Helper()
	h := newTestAPI(t)
	key := h.tenant("victim", hook.Live)
	made := h.create(key.Text, `{"description":"canary-text","url":"https://example.com/canary-url","events":["mandate.created"]}`)
	id, _ := made["id"].(string)
	secret, _ := made["secret_key"].(string)
	one := path + id + "/"
	sent := h.has(h.api("POST", one+"test/", key.Text, ""), 202, deliveryMembers...)
	delivery, _ := sent["id"].(string)
	revoked, partner, other := h.tenant("victim", hook.Live), h.tenant("agency", hook.Live), h.tenant("other", hook.Live)
	if err := h.service.RevokeKey(t.Context(), h.operator, revoked.ID); err != nil {
		t.Fatal(err)
	}
	for _, grant := range [][2]string{{"for-other", "other"}, {"for-victim", "victim"}} {
		if _, _, err := h.service.CreatePartnerUser(t.Context(), h.operator, "agency", grant[0], grant[1], nil); err != nil {
			t.Fatal(err)
		}
	}
	as := func(name, key, user string) isolationtest.Identity {
		return isolationtest.Identity{Name: name, Header: http.Header{"Authorization": {"Bearer " + key}, "X-User-Id": {user}}}
	}
	theirs := []string{"another tenant", "the tenant in test mode", "the partner without a user", "the partner for another"}
	const own = "the tenant"
	rows := []isolationtest.Row{
		{Route: "POST " + path, Path: path, Body: good, Owner: own, Lawful: theirs},
		{Route: "GET " + path, Path: path, Owner: own, Lawful: theirs},
		{Route: "GET " + path + "{id}/", Path: one, Owner: own},
		{Route: "PATCH " + path + "{id}/", Path: one, Body: `{"enabled":false}`, Owner: own},
		{Route: "DELETE " + path + "{id}/", Path: one, Owner: own},
		{Route: "POST " + path + "{id}/test/", Path: one + "test/", Owner: own},
		{Route: "GET " + path + "{id}/deliveries/", Path: one + "deliveries/", Owner: own},
		{Route: "GET " + path + "{id}/", Path: one, Owner: "the partner for the victim", Lawful: []string{own}},
	}
	for i := range rows[:7] {
		rows[i].Lawful = append(rows[i].Lawful, "the partner for the victim") // it acts as the victim here
	}
	return isolationtest.World{
		Handler: h.handler,
		Routes: []string{"POST " + path, "GET " + path, "GET " + path + "{id}/", "PATCH " + path + "{id}/", "DELETE " + path + "{id}/",
			"POST " + path + "{id}/test/", "GET " + path + "{id}/deliveries/"},
		Rows:   rows,
		Owners: []isolationtest.Identity{isolationtest.Bearer(own, key.Text), as("the partner for the victim", partner.Text, "for-victim")},
		Foreign: []isolationtest.Identity{
			{Name: "nobody"},
			isolationtest.Bearer("an empty key", ""),
			isolationtest.Bearer("a revoked key", revoked.Text),
			isolationtest.Bearer("another tenant", other.Text),
			isolationtest.Bearer("the tenant in test mode", h.tenant("victim", hook.Test).Text),
			isolationtest.Bearer("the partner without a user", partner.Text),
			as("the partner for another", partner.Text, "for-other"),
			as("the partner for nobody", partner.Text, "for-nobody"),
			as("the partner in test mode", h.tenant("agency", hook.Test).Text, "for-victim"),
			as("another tenant with the partner's user", other.Text, "for-victim"),
		},
		Canaries: []string{id, secret, delivery, "canary-"},
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
