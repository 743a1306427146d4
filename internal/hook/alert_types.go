package hook

import "time"

// AlertTypes returns the types of alerts, each with an example of its data.
func AlertTypes() []AlertType {
	at := func(text string) time.Time { t, _ := ParseTime(text); return t }
	id := func(text string) ID { i, _ := ParseID(text); return i }
	e := &Endpoint{ID: id("019cb0a2-6c00-7000-8000-0000000000e1"), Scope: Scope{Tenant: "acme", Mode: Live}, URL: "https://hooks.acme.example/in?token=secret", Title: "Acme production"}
	down := *e
	down.Status, down.DisabledReason = Tripped, "failures"
	trip := &Trip{Count: TripDuration, N: 10, For: 120 * time.Hour}
	h := &Health{Failures: 7, FirstFailureAt: at("2026-03-02T08:25:00Z")}
	o := &Outcome{Status: 503, Class: ClassStatus}
	alert := func(name string, changed ...string) any { return NewEndpointAlert(name, e, nil, nil, nil, changed...) }
	exhausted := &Delivery{ID: id("019cb0a2-6c00-7000-9000-0000000000d1"), Scope: e.Scope, EventType: "invoice.paid", Attempts: 10,
		Reason: ReasonPolicyEnded, LastStatus: 503, LastError: ClassStatus}
	replay := &ReplayJob{ID: id("019cb0a2-6c00-7000-8000-0000000000a1"), State: ReplayDone, Requested: 20, Delivered: 19, Failed: 1}
	replay.Scope, replay.Endpoint = e.Scope, e.ID
	failing := NewEndpointAlert(AlertEndpointFailing, e, h, trip, o)
	digest := &DigestAlert{Counts: map[string]int64{AlertEndpointFailing: 9980}, Since: "2026-03-02T08:30:01.000000Z", Until: "2026-03-02T08:30:59.000000Z",
		Examples: []AlertExample{{AlertEndpointFailing, e.Scope.Tenant, e.ID.String(), failing.Message}}}
	digest.Finish(Live)
	high := NewThresholdAlert("delay", 412, 300, at("2026-03-02T08:30:00Z"), false, 7)
	low := NewThresholdAlert("delay", 2.5, 300, at("2026-03-02T08:30:00Z"), true, 7)
	return []AlertType{
		{AlertEndpointCreated, "An endpoint was created.", true, alert(AlertEndpointCreated)},
		{AlertEndpointUpdated, "An endpoint was changed, or its secret was rotated.", true, alert(AlertEndpointUpdated, "url", "event_types")},
		{AlertEndpointEnabled, "An endpoint was enabled by hand. What was held is sent.", true, alert(AlertEndpointEnabled, "enabled")},
		{AlertEndpointDeleted, "An endpoint was deleted.", true, alert(AlertEndpointDeleted)},
		{AlertEndpointFailing, "An endpoint started to fail: at least 4 failures in a row over 5 minutes.", true, failing},
		{AlertEndpointWarned, "An endpoint is half-way to being disabled. It says when that will be.", true, NewEndpointAlert(AlertEndpointWarned, e, h, trip, o)},
		{AlertEndpointDisabled, "An endpoint was disabled, by its failures, by 410 Gone or by hand.", true, NewEndpointAlert(AlertEndpointDisabled, &down, h, trip, o)},
		{AlertEndpointRecovered, "The first success of an endpoint that was failing or had been disabled by failures.", true, alert(AlertEndpointRecovered)},
		{AlertDeliveryExhausted, "A delivery failed for good.", true, NewDeliveryAlert(exhausted, e, id("45239619-07eb-47c7-9a58-f98650c269ba"), at("2026-03-05T11:00:00Z"))},
		{AlertJobFinished, "A job ended: a replay.", true, NewReplayAlert(replay)},
		{AlertExceeded, "A figure of a node is over its threshold.", false, high},
		{AlertCleared, "The figure is well below the threshold again.", false, low},
		{AlertDigest, "So many operational events came within a minute that these were counted instead of sent.", true, digest},
		{AlertTest, "A test event.", true, &TestAlert{Message: "This is a test of operational events. It asks nothing of you.", Test: true}},
	}
}
