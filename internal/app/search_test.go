package app

import (
	"context"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// asked is a store that notes the search.
type asked struct {
	Store
	q hook.IDQuery
}

func (a *asked) FindID(_ context.Context, q hook.IDQuery) (hook.FoundPage, error) {
	a.q = q
	return hook.FoundPage{}, nil
}

// A search shows of the audit log, of tenants and of keys only what the caller may read.
func TestWhatASearchMayFind(t *testing.T) {
	store := &asked{}
	s := &Service{o: Options{Store: store}}
	for kind, want := range map[hook.Kind][2]bool{hook.Operator: {true, true}, hook.TenantKey: {false, true}, hook.PortalUser: {false, false}} {
		c := Caller{Kind: kind, Mode: hook.Live, Tenant: "acme", Capabilities: ^hook.Capabilities(0)}
		if _, err := s.Search(t.Context(), c, "req-1"); err != nil || store.q.Administers != want[0] || store.q.Audits != want[1] {
			t.Errorf("%s: %+v, %v", kind, store.q, err)
		}
	}
}
