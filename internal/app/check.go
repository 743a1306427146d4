package app

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	maxTypes      = 250   // entries of a filter
	maxRate       = 10000 // deliveries per second
	maxInFlight   = 1000
	maxFailures   = 1000
	maxSteps      = 50
	maxAttempts   = 10000
	maxFactor     = 10
	shortestDelay = time.Second
	longestDelay  = 7 * 24 * time.Hour
	longestAge    = 365 * 24 * time.Hour
)

var errMaxFailures = invalid("max_consecutive_failures", "\"max_consecutive_failures\" must be 1 to 1000.")

// shownValue replaces the value of a custom header in responses, because the value is a
// secret.
const shownValue = "***"

// checkEndpoint checks everything that needs neither the network nor a secret. A value
// that is unchanged from old passes even if the rules have become stricter. For a new
// endpoint, old is the zero Endpoint.
func (s *Service) checkEndpoint(e, old *hook.Endpoint) error {
	if len(e.Types) > maxTypes {
		return invalid("event_types", "\"event_types\" must have at most 250 entries.")
	}
	for i, name := range e.Types {
		if !hook.ValidFilterType(name) {
			return invalid("event_types/"+strconv.Itoa(i), "An entry of \"event_types\" must be the name of an event type, the beginning of one up to a dot, colon or slash with a star after it (\"orders/*\"), or \"*\". "+hook.TypeRule)
		}
	}
	if err := checkAlertTypes(e); err != nil {
		return err
	}
	for _, text := range []struct {
		field, now, before string
		limit              int
	}{{"title", e.Title, old.Title, maxName}, {"description", e.Description, old.Description, maxDescription}} {
		if text.now == text.before {
			continue
		}
		if err := checkText(text.field, text.now, text.limit); err != nil {
			return err
		}
	}
	if e.UID != old.UID {
		if err := checkUID(e.UID); err != nil {
			return err
		}
	}
	if e.Metadata != old.Metadata {
		if err := checkMetadata(e.Metadata); err != nil {
			return err
		}
	}
	if !(e.RateLimit >= 0 && e.RateLimit <= maxRate) {
		return invalid("rate_limit", "\"rate_limit\" must be 0 to 10000.")
	}
	if e.MaxInFlight < 0 || e.MaxInFlight > maxInFlight {
		return invalid("max_in_flight", "\"max_in_flight\" must be 0 to 1000.")
	}
	if e.MaxFailures < 0 || e.MaxFailures > maxFailures {
		return errMaxFailures
	}
	if err := checkRetry(e.Retry); err != nil {
		return err
	}
	if e.Profile == old.Profile && slices.Equal(e.Headers, old.Headers) {
		return nil
	}
	return s.checkHeaders(e)
}

// checkHeaders refuses custom headers that cannot be sent, and those that the
// endpoint's profile sends.
func (s *Service) checkHeaders(e *hook.Endpoint) error {
	if len(e.Headers) == 0 {
		return nil
	}
	if err := s.o.CheckHeaders(e.Headers); err != nil {
		return err
	}
	own := s.profileNamed(e.Profile).HeaderNames()
	for _, h := range e.Headers {
		if h.Value == shownValue {
			return &hook.Error{Code: hook.CodeHeaderInvalid, Field: "headers",
				Message: "Header " + h.Name + " has the value that answers show in place of the real one. Send the real one."}
		}
		if slices.ContainsFunc(own, func(name string) bool { return strings.EqualFold(name, h.Name) }) {
			return &hook.Error{Code: hook.CodeHeaderRefused, Field: "headers",
				Message: "Header " + h.Name + " cannot be set: the profile " + e.Profile + " sends it itself. Leave it out."}
		}
	}
	return nil
}

// checkRetry checks the bounds of an endpoint's own retry plan and fills in its
// defaults.
func checkRetry(r *hook.Retry) error {
	if r == nil {
		return nil
	}
	if !(r.Jitter >= 0 && r.Jitter <= 1) {
		return invalid("retry/jitter", "\"retry/jitter\" must be 0 to 1.")
	}
	if r.MaxAge != 0 && (r.MaxAge < shortestDelay || r.MaxAge > longestAge) {
		return invalid("retry/max_age", "\"retry/max_age\" must be 1s to 8760h.")
	}
	if len(r.Steps) > 0 {
		return checkSteps(r)
	}
	if r.Repeat {
		return invalid("retry/then", "\"retry/then\" goes with \"steps\" only.")
	}
	if r.First < shortestDelay || r.First > longestDelay {
		return invalid("retry/first", "A retry plan needs \"steps\", or \"first\" of 1s to 168h.")
	}
	if r.Factor == 0 {
		r.Factor = 2
	}
	if !(r.Factor >= 1 && r.Factor <= maxFactor) {
		return invalid("retry/factor", "\"retry/factor\" must be 1 to 10.")
	}
	if r.Cap == 0 {
		r.Cap = longestDelay
	}
	if r.Cap < shortestDelay || r.Cap > longestDelay {
		return invalid("retry/cap", "\"retry/cap\" must be 1s to 168h.")
	}
	if r.MaxAttempts < 0 || r.MaxAttempts > maxAttempts {
		return invalid("retry/max_attempts", "\"retry/max_attempts\" must be 0 (for ever) to 10000.")
	}
	return nil
}

func checkSteps(r *hook.Retry) error {
	if r.First != 0 || r.Factor != 0 || r.Cap != 0 || r.MaxAttempts != 0 {
		return invalid("retry", "A retry plan has either \"steps\" or \"first\", \"factor\", \"cap\" and \"max_attempts\".")
	}
	if len(r.Steps) > maxSteps {
		return invalid("retry/steps", "\"retry/steps\" must have at most 50 entries.")
	}
	for i, step := range r.Steps {
		if step < shortestDelay || step > longestDelay {
			return invalid("retry/steps/"+strconv.Itoa(i), "A step of \"retry/steps\" must be 1s to 168h.")
		}
	}
	return nil
}
