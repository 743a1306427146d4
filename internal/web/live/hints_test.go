package live

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A hint about the page wakes its stream, but not before the pause is over. Others do not: then
// the stream looks at the end of its time. Hints that nobody saw in time count as one.
func TestHints(t *testing.T) {
	acme, other := About{Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}, Endpoint: hook.ID{1}}, About{Scope: hook.Scope{Tenant: "other", Mode: hook.Live}, Endpoint: hook.ID{2}}
	test := About{Scope: hook.Scope{Tenant: "acme", Mode: hook.Test}, Endpoint: hook.ID{1}}
	const soon, late = time.Second, 5 * time.Second
	for name, c := range map[string]struct {
		page About
		hint []About
		at   time.Duration // of the hint
		want time.Duration
	}{
		"none":                           {acme, nil, 0, late},
		"of the endpoint, early":         {acme, []About{acme}, 0, soon},
		"of the endpoint, later":         {acme, []About{acme}, 2 * time.Second, 2*time.Second + between},
		"of another endpoint":            {acme, []About{other}, 2 * time.Second, late},
		"of the other mode":              {acme, []About{test}, 2 * time.Second, late},
		"of the tenant's page":           {About{Scope: acme.Scope}, []About{other, acme}, 2 * time.Second, 2*time.Second + between},
		"of another tenant's page":       {About{Scope: other.Scope}, []About{acme}, 2 * time.Second, late},
		"of the mode's page":             {About{Scope: hook.Scope{Mode: hook.Live}}, []About{other}, 2 * time.Second, 2*time.Second + between},
		"of the mode's page, other mode": {About{Scope: hook.Scope{Mode: hook.Live}}, []About{test}, 2 * time.Second, late},
		"too many":                       {acme, make([]About, kept+1), 2 * time.Second, 2*time.Second + between},
		"as many as are kept":            {acme, make([]About, kept), 2 * time.Second, late},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var h Hints
				l := h.Listen()
				defer l.Close()
				time.AfterFunc(c.at, func() { h.Tell(c.hint...) })
				begun := time.Now()
				reason, ended, hit := l.Wait(t.Context(), nil, c.page, soon, late)
				if took := time.Since(begun); took != c.want || ended || reason != "" || hit != (c.want != late) {
					t.Errorf("waited %v, want %v; ended %v %q", took, c.want, ended, reason)
				}
			})
		})
	}
}

// A stream that ends does not wait on, and what is told to nobody is not kept.
func TestHintsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Hints
		page := About{Scope: hook.Scope{Mode: hook.Live}}
		h.Tell(page)
		l := h.Listen()
		if h.next != 0 || !h.Listening() {
			t.Errorf("%d hints are kept for nobody", h.next)
		}
		end := make(chan string, 1)
		end <- "limit"
		if reason, ended, _ := l.Wait(t.Context(), end, page, time.Second, time.Minute); !ended || reason != "limit" {
			t.Errorf("%q %v", reason, ended)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if reason, ended, _ := l.Wait(ctx, nil, page, time.Minute, time.Hour); !ended || reason != "" || time.Since(begun) != time.Second {
			t.Errorf("%q %v after %v", reason, ended, time.Since(begun))
		}
		if l.Close(); h.Listening() {
			t.Error("somebody still listens")
		}
	})
}
