package store

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestBoundedShares(t *testing.T) {
	for _, c := range []struct{ ask, want []int }{
		{nil, nil},
		{[]int{256, 0, -3}, []int{256, 0, 0}},
		{[]int{5000}, []int{claimMost}},
		{[]int{1000, 1000}, []int{512, 512}},
		{[]int{10, 5000, 5000}, []int{10, 341 + 332, 341}},
	} {
		shares := make([]hook.Share, len(c.ask))
		for i, n := range c.ask {
			shares[i].Limit = n
		}
		for i, got := range bounded(shares) {
			if got.Limit != c.want[i] {
				t.Errorf("%v: share %d is %d, want %d", c.ask, i, got.Limit, c.want[i])
			}
		}
	}
}

// A claim takes no more than its bound and returns when the rest is due.
func TestAClaimIsBoundedInRows(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			a.opts.Room = nil
			var shares []hook.Share
			for range 7 {
				shares = append(shares, hook.Share{Scope: a.scope, Endpoint: a.another(a.scope).ID, Limit: 300})
			}
			a.say(a.scope, 300)
			got, err := a.Claim(t.Context(), hook.Claim{Now: a.now, Shares: shares})
			if err != nil || len(got.Jobs) != claimMost || len(got.Due) != len(shares) {
				t.Fatalf("%d jobs, %d endpoints with more, %v; want %d and all %d", len(got.Jobs), len(got.Due), err, claimMost, len(shares))
			}
			of := map[hook.ID]int{}
			for _, j := range got.Jobs {
				of[j.Delivery.Endpoint]++
			}
			for _, share := range shares {
				if n := of[share.Endpoint]; n < claimMost/len(shares) {
					t.Errorf("an endpoint got %d", n)
				}
			}
		})
	}
}

// A claim for an endpoint with damaged secrets gives nothing, and the other shares are
// satisfied in full.
func TestADamagedSecretHarmsNoOtherShare(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			a := newAging(t, o)
			a.opts.Room = nil
			sound := a.another(a.scope)
			other := hook.Scope{Tenant: "other", Mode: hook.Live}
			if _, _, err := a.CreateTenant(t.Context(), hook.Tenant{ID: other.Tenant}, nil); err != nil {
				t.Fatal(err)
			}
			damaged := a.another(other)
			a.say(a.scope, 1)
			a.say(other, 1)
			if err := a.do(t.Context(), "test", 1, func(t *tx) error {
				_, err := t.Exec("damage", "UPDATE secrets SET sealed = {bytes} WHERE tenant = ?", other.Tenant)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			a.core.Directory.Drop(other)
			if e, err := a.Endpoint(t.Context(), other, damaged.ID); err != nil || e.Damage == 0 {
				t.Errorf("control: the endpoint is not damaged: %v", err)
			}
			got, err := a.Claim(t.Context(), hook.Claim{Now: a.now, Shares: []hook.Share{
				{Scope: other, Endpoint: damaged.ID, Limit: 9}, {Scope: a.scope, Endpoint: sound.ID, Limit: 9}}})
			if err != nil || len(got.Jobs) != 1 || got.Jobs[0].Delivery.Endpoint != sound.ID {
				t.Errorf("claimed %d jobs, %v", len(got.Jobs), err)
			}
		})
	}
}
