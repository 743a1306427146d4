package app

import (
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Ceilings are upper limits of endpoint settings, within the bounds of the API. They
// apply to every key: an operator who wants more for one endpoint raises the option.
// The zero value leaves only the bounds of the API.
//
// A setting that was stored under a higher ceiling stays, and a change of other
// settings does not touch it. In that case max_in_flight is used at the ceiling
// (dispatch); a retry plan continues unchanged.
type Ceilings struct {
	InFlight      int           // of max_in_flight, 1 to 1000; 0: 1000
	ShortestRetry time.Duration // of every delay of a retry plan; 0: 1s
	Attempts      int           // of a retry plan; 0: any number, also without end
	Endpoints     int           // of a tenant in one mode, 1 to 1000; 0: 1000
}

// maxEndpoints bounds the endpoints of a tenant in one mode. Every publish to the
// tenant scans all of them in the writer that all tenants share.
const maxEndpoints = 1000

// settled returns the ceilings with the API's bounds in place of zeros.
func (k Ceilings) settled() Ceilings {
	if k.InFlight == 0 {
		k.InFlight = maxInFlight
	}
	if k.ShortestRetry == 0 {
		k.ShortestRetry = shortestDelay
	}
	if k.Endpoints == 0 {
		k.Endpoints = maxEndpoints
	}
	return k
}

// check returns an error for a new value above a ceiling. Both endpoints have passed
// the API's own checks.
func (k Ceilings) check(old, e *hook.Endpoint) error {
	if e.MaxInFlight > k.InFlight && e.MaxInFlight != old.MaxInFlight {
		return invalid("max_in_flight", fmt.Sprintf("\"max_in_flight\" is %d. This server allows 0 to %d (--max-in-flight-ceiling). Choose a smaller number.",
			e.MaxInFlight, k.InFlight))
	}
	if e.Retry == nil || reflect.DeepEqual(e.Retry, old.Retry) {
		return nil
	}
	return k.checkRetry(e.Retry)
}

func (k Ceilings) checkRetry(r *hook.Retry) error {
	tooShort := func(field string, delay time.Duration) error {
		if delay >= k.ShortestRetry {
			return nil
		}
		return invalid(field, fmt.Sprintf("The delay is %v. This server allows %v and longer (--shortest-retry). Choose a longer delay.", delay, k.ShortestRetry))
	}
	for i, step := range r.Steps {
		if err := tooShort("retry/steps/"+strconv.Itoa(i), step); err != nil {
			return err
		}
	}
	attempts, field := len(r.Steps)+1, "retry/steps"
	if len(r.Steps) == 0 {
		attempts, field = r.MaxAttempts, "retry/max_attempts"
		if err := tooShort("retry/first", r.First); err != nil {
			return err
		}
		if err := tooShort("retry/cap", r.Cap); err != nil {
			return err
		}
	}
	switch {
	case k.Attempts == 0:
	case r.Repeat:
		return invalid("retry/then", fmt.Sprintf("The plan goes on for ever. This server allows %d attempts (--max-attempts-ceiling). Leave \"then\" out.", k.Attempts))
	case attempts == 0:
		return invalid(field, fmt.Sprintf("The plan goes on for ever. This server allows %d attempts (--max-attempts-ceiling). Set \"max_attempts\".", k.Attempts))
	case attempts > k.Attempts:
		return invalid(field, fmt.Sprintf("The plan makes %d attempts. This server allows %d (--max-attempts-ceiling). Choose fewer.", attempts, k.Attempts))
	}
	return nil
}
