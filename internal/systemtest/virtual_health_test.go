package systemtest

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Only five days of failures disable a standard endpoint. Later deliveries are held, and
// enabling the endpoint delivers all of them.
func TestFiveDaysOfFailuresDisableAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healthy := false
		w := newWorld(t, func(int) int {
			if healthy {
				return http.StatusOK
			}
			return http.StatusInternalServerError
		})
		defer w.close()
		e, _ := w.endpoint("standard")
		began := time.Now()
		published := 0
		for time.Since(began) < 119*time.Hour {
			w.publish(e.Scope, "payment.settled")
			published++
			time.Sleep(7 * time.Hour)
		}
		if got := w.status(e); got != hook.Enabled {
			t.Fatalf("disabled after %v, before five days", time.Since(began))
		}
		time.Sleep(24 * time.Hour)
		if got := w.status(e); got != hook.Tripped {
			t.Fatalf("status %v after six days of failures", got)
		}
		w.publish(e.Scope, "payment.settled")
		published++
		time.Sleep(time.Hour)
		quiet := len(w.arrivals())
		time.Sleep(48 * time.Hour)
		if n := len(w.arrivals()); n != quiet {
			t.Fatalf("%d attempts while disabled", n-quiet)
		}
		_, held, err := w.store.Health(t.Context(), e.Scope, e.ID)
		if err != nil || held == 0 {
			t.Fatalf("%d held, %v", held, err)
		}
		w.mu.Lock()
		healthy = true
		w.mu.Unlock()
		enable := func(old hook.Endpoint) (hook.Endpoint, error) { old.Status = hook.Enabled; return old, nil }
		if _, err := w.store.UpdateEndpoint(t.Context(), e.Scope, e.ID, enable, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		states := map[hook.State]int{}
		rows, _, err := w.store.Deliveries(t.Context(), hook.DeliveryQuery{Scope: e.Scope, Page: hook.Page{Limit: 250}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range rows {
			states[d.State]++
		}
		// The oldest used up their ten attempts before the endpoint was disabled.
		if len(rows) != published || states[hook.Succeeded] != held || states[hook.Succeeded]+states[hook.Failed] != published {
			t.Fatalf("%d published, %d held, states after enabling %v", published, held, states)
		}
	})
}

func (w *world) status(e *hook.Endpoint) hook.Status {
	w.t.Helper()
	now, err := w.store.Endpoint(w.t.Context(), e.Scope, e.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return now.Status
}

// A receiver that responds with 410 gets no further requests. One that requests a pause gets
// it.
func TestGoneAndRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(int) int { return http.StatusGone })
		defer w.close()
		e, _ := w.endpoint("standard")
		w.publish(e.Scope, "payment.settled")
		time.Sleep(time.Hour)
		if n := len(w.arrivals()); n != 1 {
			t.Errorf("%d attempts at an endpoint that is gone", n)
		}
		if got := w.status(e); got != hook.Tripped {
			t.Errorf("status %v after 410", got)
		}
		if d, _ := w.delivery(e.Scope); d.State != hook.Failed || d.Reason != hook.ReasonGone {
			t.Errorf("the delivery is %v, %q", d.State, d.Reason)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(n int) int {
			if n == 1 {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		})
		w.retryAfter = "600"
		defer w.close()
		e, _ := w.endpoint("standard")
		w.publish(e.Scope, "payment.settled")
		time.Sleep(time.Hour)
		got := w.arrivals()
		if len(got) != 2 {
			t.Fatalf("%d attempts", len(got))
		}
		if pause := got[1].At.Sub(got[0].At); pause < 10*time.Minute || pause > 11*time.Minute {
			t.Errorf("came back after %v, was asked for 10 minutes", pause)
		}
	})
}
