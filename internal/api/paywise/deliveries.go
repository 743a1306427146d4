package paywise

import (
	"net/http"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// delivery is one event to one endpoint in paywise's format. ID is the value that the
// receiver sees in X-Paywise-Delivery-ID.
type delivery struct {
	ID             string       `json:"id"`
	Event          string       `json:"event"` // its type
	Status         string       `json:"status"`
	Attempts       int          `json:"attempts"`
	ResponseStatus *int         `json:"response_status"` // of the latest attempt; null: no response
	Error          *string      `json:"error"`           // of the latest attempt
	NextAttemptAt  *client.Time `json:"next_attempt_at"`
	Created        client.Time  `json:"created"`
	Updated        client.Time  `json:"updated"`
}

var yes, no = true, false

// stages maps paywise's statuses to delivery states. Deliveries held while an endpoint
// is disabled are pending, and cancelled ones are failed.
var stages = map[string][]hook.Stage{
	"pending":  {{State: hook.Pending, Attempted: &no}, {State: hook.Held}},
	"retrying": {{State: hook.Pending, Attempted: &yes}},
	"success":  {{State: hook.Succeeded}},
	"failed":   {{State: hook.Failed}, {State: hook.Cancelled}},
}

// statusOf is the inverse of stages.
func statusOf(d *hook.Delivery) string {
	for status, list := range stages {
		for _, s := range list {
			if s.State == d.State && (s.Attempted == nil || *s.Attempted == (d.Attempts > 0)) {
				return status
			}
		}
	}
	return "failed" // cannot happen: the stages cover every state
}

func wireDelivery(d hook.LoggedDelivery) delivery {
	out := delivery{ID: d.ID.String(), Event: d.EventType, Status: statusOf(&d.Delivery), Attempts: d.Attempts,
		NextAttemptAt: someTime(d.Due), Created: client.Time{Time: d.CreatedAt}, Updated: client.Time{Time: d.UpdatedAt}}
	if d.LastStatus != 0 {
		out.ResponseStatus = &d.LastStatus
	}
	if text := d.Message; d.State != hook.Succeeded && d.LastError != "" {
		if text == "" {
			text = string(d.LastError)
		}
		out.Error = &text
	}
	return out
}

func someTime(t time.Time) *client.Time {
	if t.IsZero() {
		return nil
	}
	return &client.Time{Time: t}
}

// test sends webhook.test and responds with its delivery. The delivery is only
// accepted; the list of deliveries shows its result.
func (a *api) test(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	body, err := adapter.Body(r, c, "application/json")
	if err != nil {
		return err
	}
	if len(body) > 0 {
		m, err := adapter.ReadMembers(body)
		if err != nil {
			return err
		}
		if wrong := m.Wrong(); len(wrong) > 0 {
			return invalidAll(wrong)
		}
	}
	made, err := a.mount.TestEndpoint(r.Context(), c, id)
	if err != nil {
		return err
	}
	return adapter.Answer(w, http.StatusAccepted, wireDelivery(made))
}

func (a *api) deliveries(w http.ResponseWriter, r *http.Request, c app.Caller, id hook.ID) error {
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	window, err := readWindow(query)
	if err != nil {
		return err
	}
	log := hook.EndpointLog{Window: window}
	if log.Type, _, err = single(query, "event"); err != nil {
		return err
	}
	status, given, err := single(query, "status")
	if err != nil {
		return err
	}
	if log.Stages = stages[status]; given && log.Stages == nil {
		return invalid("status", "This parameter must be pending, retrying, success or failed.")
	}
	rows, count, err := a.mount.EndpointLog(r.Context(), c, id, log)
	if err != nil {
		return err
	}
	results := make([]delivery, 0, len(rows))
	for _, d := range rows {
		results = append(results, wireDelivery(d))
	}
	return adapter.Answer(w, http.StatusOK, paged(r, window, count, results))
}
