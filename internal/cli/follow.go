package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
)

// What some commands do beside their one call of the API.

// outcomeWithin is how long a test event is waited for.
const outcomeWithin = 10 * time.Second

// outcome waits for the one attempt of a test event and prints what came of it.
func (c *call) outcome(api *server, answer json.RawMessage) error {
	var test client.TestEvent
	if err := json.Unmarshal(answer, &test); err != nil {
		return errNotPosthorn
	}
	ctx, cancel := context.WithTimeout(c.cmd.Context(), outcomeWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := api.Delivery(ctx, test.Delivery)
		if err == nil && len(d.AttemptLog) > 0 && d.State != "pending" {
			_, err = fmt.Fprintf(c.cmd.OutOrStdout(), "outcome   %s\n", attemptResult(&d))
			return err
		}
		if err != nil && ctx.Err() == nil {
			return api.refused(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			fmt.Fprintf(c.cmd.ErrOrStderr(), "No outcome yet; see: posthorn delivery get %s\n", PlainText(test.Delivery))
			return nil
		}
	}
}

// attemptResult is the state of a delivery with what its last attempt met.
func attemptResult(d *client.Delivery) string {
	a := d.AttemptLog[len(d.AttemptLog)-1]
	text := d.State
	if a.Status != nil {
		text += fmt.Sprintf(", status %d", *a.Status)
	}
	if a.Error != nil {
		text += ", " + *a.Error
	}
	if a.Message != nil {
		text += ": " + *a.Message
	}
	return PlainText(fmt.Sprintf("%s (%.0f ms)", text, a.DurationMS))
}

// heldNote says what becomes of the deliveries that an endpoint has waiting. Without
// an answer it says nothing: the call that follows tells what is wrong.
func heldNote(c *call, api *server) string {
	e, err := api.Endpoint(c.cmd.Context(), c.arg)
	if err != nil || e.Enabled || e.Health == nil {
		return ""
	}
	if s := e.Verification.State; s == client.VerificationPending || s == client.VerificationFailed {
		return "It is not verified yet, and enabled once it is: posthorn endpoint verify " + PlainText(c.arg)
	}
	n := e.Health.Held
	if discard, _ := c.cmd.Flags().GetBool("discard"); discard {
		return fmt.Sprintf("%d held %s given up.", n, areDeliveries(n))
	}
	return fmt.Sprintf("%d held %s sent now.", n, areDeliveries(n))
}

func areDeliveries(n int) string {
	if n == 1 {
		return "delivery is"
	}
	return "deliveries are"
}

// resentNote counts what a resend did.
func resentNote(answer json.RawMessage) string {
	var r client.Resent
	if json.Unmarshal(answer, &r) != nil {
		return ""
	}
	text := fmt.Sprintf("%d new %s, %d sent again.", r.Created, deliveries(r.Created), len(r.Deliveries)-r.Created)
	if r.Skipped > 0 {
		text += fmt.Sprintf(" %d skipped: the endpoint was disabled by failures; enable it, and what it holds is sent.", r.Skipped)
	}
	return text
}

// enabling names the endpoint in the next step when a disabled one is in the way.
func (c *call) enabling(api *server, err error, members map[string]json.RawMessage) error {
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Code != "endpoint_disabled" {
		return err
	}
	id := ""
	switch {
	case strings.HasPrefix(c.path, "/v1/endpoints/"):
		id = c.arg
	case strings.HasPrefix(c.path, "/v1/deliveries/"):
		if d, err := api.Delivery(c.cmd.Context(), c.arg); err == nil {
			id = d.Endpoint
		}
	default:
		_ = json.Unmarshal(members["endpoint"], &id) // stays empty where none was named
	}
	if id == "" {
		return err
	}
	return exit.With(exit.Refused, fmt.Errorf("%w; enable it: posthorn endpoint enable %s", p, PlainText(id)))
}
