package systemtest

import (
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A DNS outage of three hours uses none of paywise's four attempts, and does not count among
// the 50 consecutive failures that disable an endpoint. The control is a name that does not
// exist: that is the receiver's fault, and does count.
func TestAnOutageOfTheNameServiceCostsNothing(t *testing.T) {
	for _, tt := range []struct {
		fault  error
		status hook.Status
	}{
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, hook.Enabled},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, hook.Enabled},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, hook.Tripped},
	} {
		synctest.Test(t, func(t *testing.T) {
			const events = 60
			w := newWorld(t, func(int) int { return http.StatusOK })
			defer w.close()
			fails := func(err error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.lookup = err
			}
			e, _ := w.endpoint("paywise")
			fails(tt.fault)
			for range events {
				w.publish(e.Scope, "payment.settled")
				<-time.After(3 * time.Hour / events)
			}
			if got := w.status(e); got != tt.status {
				t.Errorf("%v: status %v, want %v", tt.fault, got, tt.status)
			}
			fails(nil)
			<-time.After(time.Minute)
			rows, _, err := w.store.Deliveries(t.Context(), hook.DeliveryQuery{Scope: e.Scope, Page: hook.Page{Limit: 250}})
			if err != nil {
				t.Fatal(err)
			}
			untouched := 0
			for _, d := range rows {
				if d.State == hook.Succeeded && d.Attempts == 1 {
					untouched++
				}
			}
			if want := map[hook.Status]int{hook.Enabled: events}[tt.status]; untouched != want {
				t.Errorf("%v: %d of %d deliveries arrived with their first attempt, want %d", tt.fault, untouched, events, want)
			}
		})
	}
}
