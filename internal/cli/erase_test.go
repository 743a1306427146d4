package cli

import (
	"encoding/json"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// Erasing asks first, shows the progress and the receipt, and says what it did not find.
func TestEraseAndReclaim(t *testing.T) {
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme", "--name", "Acme Ltd")
	s.OK("event-type", "create", "--name", "a.b", "--redact", "/card/number,/iban")
	sent := s.JSON("send", "--tenant", "acme", "--type", "a.b", "--data", `{"iban":"DE02","n":1}`)["id"].(string)
	shown := s.OK("event", "get", sent)
	servertest.Contains(t, shown, `"***"`, "/iban")
	s.Refused(exit.Usage, "add --yes", "erase", "tenant", "acme")
	s.Refused(exit.Usage, "takes one ID", "erase", "event")
	s.OK("tenant", "get", "acme") // control: nothing was done
	s.Refused(exit.Refused, "not_found", "erase", "event", "019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a", "--yes")
	s.Refused(exit.Refused, "tenant_not_found", "erase", "tenant", "nobody", "--yes")
	s.Refused(exit.Refused, "redact/0", "event-type", "update", "a.b", "--redact", "card")
	erase := func(args ...string) (e client.Erasure) {
		if err := json.Unmarshal([]byte(s.OK(append([]string{"erase"}, append(args, "--yes", "--wait", "--json")...)...)), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if one := erase("event", sent); one.State != client.ErasureDone || *one.Event != sent || one.Removed["events"] != 1 {
		t.Errorf("%+v", one)
	}
	all := erase("tenant", "acme")
	servertest.Contains(t, s.OK("erase", "list", "--tenant", "acme"), all.ID, "done")
	if all.State != client.ErasureDone || all.Event != nil || all.Removed["tenants"] != 1 {
		t.Errorf("%+v", all)
	}
	s.Refused(exit.Refused, "not_found", "tenant", "get", "acme")
	servertest.Contains(t, s.OK("erase", "get", all.ID), "The tenant is erased", "This receipt")
	servertest.Contains(t, s.OK("reclaim"), "bytes given back")
	if out := s.JSON("reclaim", "--json"); out["left_bytes"] != 0.0 {
		t.Errorf("%v", out)
	}
}
