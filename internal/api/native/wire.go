package native

import (
	"net/textproto"
	"strings"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// This file converts the results of package app to the wire structs of the client
// package.

func wireTime(t time.Time) client.Time { return client.Time{Time: t} }

// some returns nil for the zero value, which the API shows as null.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func someTime(t time.Time) *client.Time {
	if t.IsZero() {
		return nil
	}
	return &client.Time{Time: t}
}

func wireTenant(t hook.Tenant) client.Tenant {
	return client.Tenant{ID: t.ID, Name: t.Name, Metadata: app.Notes(t.Metadata), RateLimit: t.RateLimit, CreatedAt: wireTime(t.CreatedAt)}
}

func wireKey(k hook.Key) client.Key {
	out := client.Key{ID: k.ID.String(), Kind: string(k.Kind), Mode: k.Mode.String(), Tenant: k.Tenant,
		Name: k.Name, CreatedAt: wireTime(k.CreatedAt), ExpiresAt: someTime(k.ExpiresAt), LastUsedAt: someTime(k.LastUsedAt),
		ReadOnly: k.ReadOnly, EventTypes: k.EventTypes}
	for _, n := range k.Networks {
		out.Networks = append(out.Networks, n.String())
	}
	return out
}

func wireNewKey(k app.NewKey) client.Key {
	out := wireKey(k.Key)
	out.Key = k.Text
	return out
}

func wireRow(e *hook.Endpoint) client.Endpoint {
	out := client.Endpoint{ID: e.ID.String(), UID: some(e.UID), Tenant: e.Scope.Tenant, Mode: e.Scope.Mode.String(), Metadata: app.Notes(e.Metadata),
		URL:        hook.MaskURL(e.URL), // its query often holds a token (S-11)
		EventTypes: append([]string{}, e.Types...), Channels: e.Channels, Enabled: e.Receives(),
		DisabledReason: some(e.WhyDisabled()), DisabledAt: someTime(e.DisabledAt),
		Operational: e.Operational, Verification: wireVerification(&e.Verification), Title: e.Title, Description: e.Description, Profile: e.Profile, Headers: map[string]string{},
		RateLimit: e.RateLimit, MaxInFlight: e.MaxInFlight, MaxConsecutiveFailures: some(e.MaxFailures),
		CreatedAt: wireTime(e.CreatedAt), UpdatedAt: wireTime(e.UpdatedAt)}
	for _, header := range e.Headers {
		out.Headers[header.Name] = "***" // values are secrets, write-only (S-08)
	}
	if e.Retry != nil {
		out.Retry = wireRetry(e.Retry)
	}
	return out
}

func wireVerification(v *hook.Verification) client.Verification {
	out := client.Verification{State: v.State.String(), VerifiedAt: someTime(v.VerifiedAt), LastAttemptAt: someTime(v.AttemptAt), Reason: some(v.Reason)}
	if !v.Event.IsZero() {
		out.Event = some(v.Event.String())
	}
	return out
}

func wireEndpoint(e app.Endpoint) client.Endpoint {
	out := wireRow(e.Endpoint)
	out.Secret, out.PublicKey = e.Secret, e.PublicKey
	for _, warning := range e.Warnings {
		out.Warnings = append(out.Warnings, client.Warning(warning))
	}
	if e.Health != nil {
		out.Health = &client.Health{ConsecutiveFailures: e.Health.Failures, Held: e.Held,
			FirstFailureAt: someTime(e.Health.FirstFailureAt), LastFailureAt: someTime(e.Health.LastFailureAt)}
	}
	return out
}

func wireRetry(r *hook.Retry) *client.Retry {
	out := &client.Retry{Factor: r.Factor, Jitter: r.Jitter, MaxAttempts: r.MaxAttempts,
		First: duration(r.First), Cap: duration(r.Cap), MaxAge: duration(r.MaxAge)}
	for _, step := range r.Steps {
		out.Steps = append(out.Steps, duration(step))
	}
	if len(r.Steps) > 0 {
		out.Then = "fail"
		if r.Repeat {
			out.Then = "repeat"
		}
	}
	return out
}

// duration formats 90m as 1h30m, not as 1h30m0s. Zero is the empty text.
func duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func wireRotated(r app.Rotated) client.RotatedSecret {
	return client.RotatedSecret{Secret: r.Secret, PublicKey: r.PublicKey, PreviousExpiresAt: wireTime(r.PreviousExpiresAt)}
}

func wireTest(t app.Test) client.TestEvent {
	return client.TestEvent{Event: t.Event.String(), Delivery: t.Delivery.String(), Type: t.Type}
}

func wireEvent(e hook.Event) client.Event {
	out := client.Event{ID: hook.PublicText(e.PublicID, e.GivenID), Tenant: e.Scope.Tenant, Mode: e.Scope.Mode.String(), Type: e.Type, Channels: e.Channels,
		Test: e.Kind == hook.TestEvent, CreatedAt: wireTime(e.CreatedAt), AcceptedAt: wireTime(e.AcceptedAt), DeliverAt: someTime(e.DeliverAt), PayloadRemovedAt: someTime(e.PayloadRemovedAt)}
	for _, tag := range e.Tags {
		if out.Tags == nil {
			out.Tags = map[string]string{}
		}
		out.Tags[tag.Name] = tag.Value
	}
	return out
}

func wireDelivery(d hook.DeliveryRow) client.Delivery {
	if d.State != hook.Pending { // a held one keeps the time before which it is not sent
		d.Due = time.Time{}
	}
	return client.Delivery{ID: d.ID.String(), Event: hook.PublicText(d.PublicID, d.GivenID), EventType: d.EventType,
		Endpoint: d.Endpoint.String(), Tenant: d.Scope.Tenant, State: d.State.String(), Reason: some(string(d.Reason)),
		Attempts: d.Attempts, NextAttemptAt: someTime(d.Due), DeliverAt: someTime(d.DeliverAt), LastStatus: some(d.LastStatus),
		LastError: some(string(d.LastError)), CreatedAt: wireTime(d.CreatedAt), SettledAt: someTime(d.SettledAt)}
}

func wireAttempt(a hook.Attempt) client.Attempt {
	out := client.Attempt{Number: a.Number, At: wireTime(a.At), DurationMS: milliseconds(a.Duration),
		Status: some(a.Status), Error: some(string(a.Class)), Message: some(a.Message), Trigger: a.Trigger.String(),
		ResponseHeaders: headerMap(string(a.ResponseHeaders)), ResponseBody: string(a.ResponseBody),
		ResponseTruncated: a.Truncated, ResponseRemovedAt: someTime(a.AnswerRemovedAt)}
	if t := a.Timing; a.Address.IsValid() {
		out.Address = some(a.Address.String())
		out.Timing = &client.AttemptTiming{Reused: t.Reused, DNSMS: milliseconds(t.DNS), ConnectMS: milliseconds(t.Connect),
			TLSMS: milliseconds(t.TLS), FirstByteMS: milliseconds(t.FirstByte)}
	}
	return out
}

// headerMap parses "Name: value" lines. Values of the same name are joined by a comma.
func headerMap(lines string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(lines) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			continue
		}
		name, value = textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value)
		if before, twice := out[name]; twice {
			value = before + ", " + value
		}
		out[name] = value
	}
	return out
}

func wireAll[R, W any](rows []R, wire func(R) W) []W {
	out := make([]W, 0, len(rows))
	for _, row := range rows {
		out = append(out, wire(row))
	}
	return out
}
