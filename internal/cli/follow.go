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

// What some commands do besides their one call of the API.

// outcomeWithin is how long a test event is waited for.
const outcomeWithin = 10 * time.Second

// outcome waits for the one attempt of a test event and prints its result.
func (c *call) outcome(api *server, answer json.RawMessage) error {
	var test client.TestEvent
	if err := json.Unmarshal(answer, &test); err != nil {
		return errNotPosthorn
	}
	return c.awaited(api, test.Delivery, 1)
}

// retried waits for the attempt of a retry; the answer is its delivery.
func (c *call) retried(api *server, answer json.RawMessage) error {
	var d client.Delivery
	if err := json.Unmarshal(answer, &d); err != nil {
		return errNotPosthorn
	}
	return c.awaited(api, d.ID, d.Attempts+1)
}

// awaited waits until a delivery has had so many attempts, and prints the result of the
// last. After a success it prints how to enable an endpoint that is disabled.
func (c *call) awaited(api *server, id string, attempts int) error {
	ctx, cancel := context.WithTimeout(c.cmd.Context(), outcomeWithin)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := api.Delivery(ctx, id)
		if err == nil && d.Attempts >= attempts && len(d.AttemptLog) > 0 {
			if _, err = fmt.Fprintf(c.cmd.OutOrStdout(), "outcome   %s\n", attemptResult(&d)); err == nil && d.State == client.StateSucceeded {
				c.offerEnabling(ctx, api, d.Endpoint)
			}
			return err
		}
		if err != nil && ctx.Err() == nil {
			return api.refused(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			fmt.Fprintf(c.cmd.ErrOrStderr(), "No outcome yet. To see it later, run: posthorn delivery get %s\n", PlainText(id))
			return nil
		}
	}
}

// offerEnabling prints how to enable an endpoint that responded although it is disabled.
func (c *call) offerEnabling(ctx context.Context, api *server, id string) {
	if e, err := api.Endpoint(ctx, id); err == nil && !e.Enabled {
		fmt.Fprintf(c.cmd.ErrOrStderr(), "The endpoint responded but is still disabled. To enable it, run: posthorn endpoint enable %s\n", PlainText(id))
	}
}

// attemptResult is the state of a delivery with the result of its last attempt.
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

// heldNote returns what happens to the held deliveries of an endpoint. On an error it is
// empty, because the next call fails with the same error.
func heldNote(c *call, api *server) string {
	e, err := api.Endpoint(c.cmd.Context(), c.arg)
	if err != nil || e.Enabled || e.Health == nil {
		return ""
	}
	if s := e.Verification.State; s == client.VerificationPending || s == client.VerificationFailed {
		return "The endpoint is not verified yet; verification enables it. To send a challenge, run: posthorn endpoint verify " + PlainText(c.arg)
	}
	n := e.Health.Held
	if discard, _ := c.cmd.Flags().GetBool("discard"); discard {
		return fmt.Sprintf("%d held %s discarded.", n, areDeliveries(n))
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
		text += fmt.Sprintf(" %d skipped: the endpoint was disabled after failures. Enabling it sends its held deliveries.", r.Skipped)
	}
	return text
}

// enabling adds the ID of the endpoint to the error that it is disabled.
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
	return exit.With(exit.Refused, fmt.Errorf("%w; to enable it, run: posthorn endpoint enable %s", p, PlainText(id)))
}

// followEvery is the interval at which a job is polled.
const followEvery = time.Second

// progressOf returns the path of the job in a response and a line about its progress. The
// path is empty if the job does not run.
type progressOf func(answer json.RawMessage) (path, line string, err error)

// follow waits until the job in a response has ended or is paused, and returns it.
// Meanwhile it prints the progress to standard error. Interrupting the command does not
// affect the job.
func (c *call) follow(api *server, answer json.RawMessage) (json.RawMessage, error) {
	said := ""
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		path, line, err := c.follows(answer)
		if err != nil {
			return nil, errNotPosthorn
		}
		if path == "" {
			return answer, nil
		}
		if line != said {
			said = line
			fmt.Fprintln(c.cmd.ErrOrStderr(), PlainText(line))
		}
		select {
		case <-tick.C:
		case <-c.cmd.Context().Done():
			return nil, c.cmd.Context().Err()
		}
		if err := api.Do(c.cmd.Context(), "GET", path, "", nil, &answer); err != nil {
			return nil, api.refused(err)
		}
	}
}

// replayProgress is the progressOf of a replay.
func replayProgress(answer json.RawMessage) (path, line string, err error) {
	var r client.Replay
	if err := json.Unmarshal(answer, &r); err != nil || r.ID == nil || r.State != client.ReplayRunning {
		return "", "", err
	}
	line = fmt.Sprintf("%s %d delivered, %d failed, %d under way.", r.Message, r.Delivered, r.Failed, r.Pending)
	if r.Estimated != nil && r.Processed < r.Total {
		line += " About " + time.Until(r.Estimated.Time).Round(time.Second).String() + " left."
	}
	return "/v1/replays/" + *r.ID, line, nil
}

// replayNote returns how to follow a replay.
func replayNote(answer json.RawMessage) string {
	var r client.Replay
	if json.Unmarshal(answer, &r) != nil || r.ID == nil || r.State != client.ReplayRunning {
		return ""
	}
	return "The replay is running. To follow it, run: posthorn replay get " + PlainText(*r.ID) + " --wait"
}
