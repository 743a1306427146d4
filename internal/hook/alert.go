package hook

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// An alert is an operational event: Posthorn itself reports a change, such as an endpoint
// that was disabled. It is stored and delivered like an event of the platform, but only to
// operational endpoints: those of the tenant concerned, and those of the operator. Alerts
// about operational endpoints do not exist, so no alert causes another one.

// OperatorTenant owns the operator's operational endpoints. It exists in both modes. No
// tenant of the platform can have this id, because ValidTenantID refuses it.
const OperatorTenant = "@operator"

// reservedPrefix begins the event types that only Posthorn publishes.
const reservedPrefix = "posthorn."

// ReservedType reports whether only Posthorn publishes events of the type.
func ReservedType(name string) bool { return strings.HasPrefix(name, reservedPrefix) }

// The types of alerts.
const (
	AlertEndpointCreated   = "posthorn.endpoint.created"
	AlertEndpointUpdated   = "posthorn.endpoint.updated"
	AlertEndpointEnabled   = "posthorn.endpoint.enabled"
	AlertEndpointDisabled  = "posthorn.endpoint.disabled"
	AlertEndpointDeleted   = "posthorn.endpoint.deleted"
	AlertEndpointFailing   = "posthorn.endpoint.failing"
	AlertEndpointWarned    = "posthorn.endpoint.warned"
	AlertEndpointRecovered = "posthorn.endpoint.recovered"
	AlertDeliveryExhausted = "posthorn.delivery.exhausted"
	AlertJobFinished       = "posthorn.job.finished"
	AlertExceeded          = "posthorn.threshold.exceeded"
	AlertCleared           = "posthorn.threshold.cleared"
	AlertDigest            = "posthorn.digest"
	AlertTest              = "posthorn.test"
)

// AlertType describes a type of alert.
type AlertType struct {
	Name        string
	Description string
	// Tenants reports whether operational endpoints of tenants get it, too.
	Tenants bool
	Example any // its data
}

// Wants reports whether an event of the type and with the channels is for the endpoint,
// whatever the endpoint's status.
func (e *Endpoint) Wants(eventType string, channels Channels) bool {
	return e.WantsType(eventType) && e.Channels.Admit(channels)
}

// WantsType is Wants for an event that has all the channels it needs. An operational
// endpoint gets alerts only, and any other endpoint gets none.
func (e *Endpoint) WantsType(eventType string) bool {
	return e.Operational == ReservedType(eventType) && e.Types.Match(eventType)
}

// MaxOperational bounds the operational endpoints of a tenant, and of the operator, in a
// mode.
const MaxOperational = 10

// Limits of alerts. What exceeds AlertsPerWindow of one type in one window, for one tenant
// or the operator, on one node, is summed up in an AlertDigest about a window later.
const (
	AlertWindow     = time.Minute
	AlertsPerWindow = 10
	DigestExamples  = 10
)

// Alarm records which alerts about the health of an endpoint were published. The numbers
// are stored.
type Alarm uint8

// The members of the set.
const (
	AlarmFailing Alarm = 1 << iota // AlertEndpointFailing, since it was last enabled
	AlarmWarned                    // AlertEndpointWarned, since it was last enabled
	AlarmUnwell                    // any of them, or that failures disabled it: a success is worth an alert
)

// Has reports whether the set holds all of a.
func (s Alarm) Has(a Alarm) bool { return s&a == a }

// An endpoint counts as failing after failingCount failures in a row over at least
// failingFor. So neither a restart of a receiver nor a single bad answer is an alert.
const (
	failingCount = 4
	failingFor   = 5 * time.Minute
)

// Failing reports whether the endpoint fails for so long that it is worth an alert.
func (h Health) Failing(now time.Time) bool {
	return h.Failures >= failingCount && now.Sub(h.FirstFailureAt) >= failingFor
}

// DisableAt returns when the rule disables the endpoint if every attempt fails from now
// on. It is zero if the rule counts failures instead of time, or there is no failure.
func (h Health) DisableAt(t Trip) time.Time {
	if t.Count != TripDuration || t.For <= 0 || h.FirstFailureAt.IsZero() {
		return time.Time{}
	}
	return h.FirstFailureAt.Add(t.For)
}

// EndpointAlert is the data of the alerts about an endpoint. Members that are empty are
// absent.
type EndpointAlert struct {
	Message      string   `json:"message" doc:"What happened and what to do, as a text for people, without anything that a tenant wrote. At most 1,000 bytes."`
	Tenant       string   `json:"tenant" doc:"The tenant that owns the endpoint."`
	Mode         string   `json:"mode" enum:"test,live" doc:"The mode of the endpoint."`
	Endpoint     string   `json:"endpoint" format:"uuid" doc:"The id of the endpoint."`
	URL          string   `json:"url" doc:"Its URL. The values of the query are shown as ***."`
	Title        string   `json:"title,omitempty" doc:"Its title. Absent: none."`
	Changed      []string `json:"changed,omitempty" nullable:"false" doc:"With updated, enabled and disabled: the members that were changed by hand."`
	Reason       string   `json:"reason,omitempty" doc:"With disabled: by_hand, failures or gone, as disabled_reason of the endpoint. With warned: failures."`
	Failures     int      `json:"consecutive_failures,omitempty" doc:"Failures in a row, as the profile counts them."`
	FailingSince string   `json:"failing_since,omitempty" format:"date-time" doc:"When the first of these failures was."`
	LastStatus   int      `json:"last_status,omitempty" doc:"Status of the latest answer. Absent: there was none."`
	LastError    string   `json:"last_error,omitempty" doc:"Class of the latest failure, such as timeout_response."`
	DisableAt    string   `json:"disable_at,omitempty" format:"date-time" doc:"With failing and warned: when the endpoint is disabled, unless an attempt succeeds before. Absent: the rule counts failures."`
	DisableAfter int      `json:"disable_after_failures,omitempty" doc:"With failing and warned: how many failures in a row disable the endpoint. Absent: the rule counts time alone."`
}

// DeliveryAlert is the data of the alert about a delivery that failed for good.
type DeliveryAlert struct {
	Message    string `json:"message" doc:"What happened and what to do, as a text for people, without anything that a tenant wrote. At most 1,000 bytes."`
	Tenant     string `json:"tenant" doc:"The tenant of event and endpoint."`
	Mode       string `json:"mode" enum:"test,live" doc:"The mode of event and endpoint."`
	Event      string `json:"event" doc:"The id of the event, as you gave it or as the server made it."`
	EventType  string `json:"event_type" doc:"The type of the event."`
	Delivery   string `json:"delivery" format:"uuid" doc:"The id of the delivery."`
	Endpoint   string `json:"endpoint" format:"uuid" doc:"The id of the endpoint."`
	URL        string `json:"url" doc:"Its URL. The values of the query are shown as ***."`
	Reason     string `json:"reason" doc:"policy_ended: the retry plan is over. endpoint_gone: the receiver answered 410. held_expired: it was held for too long."`
	Attempts   int    `json:"attempts" doc:"Attempts that were made. The number of the last one."`
	LastAt     string `json:"last_attempt_at,omitempty" format:"date-time" doc:"When the last attempt began."`
	LastStatus int    `json:"last_status,omitempty" doc:"Status of the last answer. Absent: there was none."`
	LastError  string `json:"last_error,omitempty" doc:"Class of the last failure."`
}

// JobAlert is the data of the alert about a job that ended.
type JobAlert struct {
	Message   string `json:"message" doc:"What happened, as a text for people."`
	Tenant    string `json:"tenant" doc:"The tenant that the job was for."`
	Mode      string `json:"mode" enum:"test,live" doc:"The mode of the job."`
	Job       string `json:"job" enum:"replay" doc:"The kind of job."`
	ID        string `json:"id" format:"uuid" doc:"The id of the job."`
	Endpoint  string `json:"endpoint" format:"uuid" doc:"The endpoint that the replay was for."`
	State     string `json:"state" enum:"done,cancelled" doc:"How it ended."`
	Requested int    `json:"requested" doc:"Attempts that the replay requested."`
	Delivered int    `json:"delivered" doc:"How many of them succeeded."`
	Failed    int    `json:"failed" doc:"How many of them failed."`
	Dropped   int    `json:"dropped" doc:"How many of them were not made."`
}

// ThresholdAlert is the data of the alerts about a figure of a node. Only the operator
// gets them.
type ThresholdAlert struct {
	Message   string  `json:"message" doc:"What happened, as a text for people."`
	Figure    string  `json:"figure" enum:"backlog,delay,disk" doc:"backlog: deliveries that wait in the node's memory. delay: seconds from acceptance to the first attempt, the longest within a minute. disk: percent of the data directory's file system that is used."`
	Value     float64 `json:"value" doc:"The figure now."`
	Threshold float64 `json:"threshold" doc:"The value above which it is an alert."`
	Since     string  `json:"since" format:"date-time" doc:"When the figure was first seen above the threshold."`
	Node      int64   `json:"node" doc:"The number of the process whose figure it is, its epoch."`
}

// DigestAlert is the data of the alert that sums up others.
type DigestAlert struct {
	Message  string           `json:"message" doc:"What happened, as a text for people."`
	Mode     string           `json:"mode" enum:"test,live" doc:"The mode of the operational events."`
	Total    int64            `json:"total" doc:"How many operational events this one stands for. They were not sent one by one."`
	Counts   map[string]int64 `json:"counts" doc:"Their number by type."`
	Since    string           `json:"since" format:"date-time" doc:"When the first of them happened."`
	Until    string           `json:"until" format:"date-time" doc:"When the last of them happened."`
	Examples []AlertExample   `json:"examples" nullable:"false" doc:"Some of them, at most 10."`
}

// AlertExample is one of the alerts that a DigestAlert sums up.
type AlertExample struct {
	Type     string `json:"type" doc:"The type of the operational event."`
	Tenant   string `json:"tenant" doc:"The tenant concerned."`
	Endpoint string `json:"endpoint,omitempty" format:"uuid" doc:"The endpoint concerned."`
	Message  string `json:"message" doc:"What happened, as a text for people."`
}

// TestAlert is the data of a test event for an operational endpoint.
type TestAlert struct {
	Message string `json:"message" doc:"A text for people."`
	Test    bool   `json:"test" doc:"Always true."`
}

// AlertTime returns a time as it is written in alerts. It is empty for the zero time.
func AlertTime(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// dateText returns a time for a sentence.
func dateText(at time.Time) string { return at.UTC().Format("2 January 2006, 15:04 UTC") }

// maxHostShown bounds a host in a message, in bytes. A message must not exceed what
// profiles take out of the data of an event.
const maxHostShown = 100

// hostOf returns the host of a canonical URL. Unlike the rest of the URL it cannot hold a
// token or markup.
func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "//")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if len(rest) > maxHostShown {
		return rest[:maxHostShown] + "..."
	}
	return rest
}

// subject returns how a sentence names an endpoint.
func (e *Endpoint) subject() string {
	return fmt.Sprintf("Endpoint %s (%s) of tenant %s", e.ID, hostOf(e.URL), e.Scope.Tenant)
}

// NewEndpointAlert returns the data of an alert of the type. h, trip and o are the health
// of the endpoint, its rule and the latest attempt, or nil if the alert is not about them.
// changed are the members that a caller changed.
func NewEndpointAlert(name string, e *Endpoint, h *Health, trip *Trip, o *Outcome, changed ...string) *EndpointAlert {
	a := &EndpointAlert{Tenant: e.Scope.Tenant, Mode: e.Scope.Mode.String(), Endpoint: e.ID.String(), URL: MaskURL(e.URL), Title: e.Title, Changed: changed}
	failed := ""
	if h != nil {
		a.Failures, a.FailingSince = h.Failures, AlertTime(h.FirstFailureAt)
		if !h.FirstFailureAt.IsZero() {
			failed = fmt.Sprintf("every attempt since %s failed", dateText(h.FirstFailureAt))
		}
	}
	if o != nil && !o.Success {
		a.LastStatus, a.LastError = o.Status, string(o.Class)
		failed += lastText(o)
	}
	limit := ""
	if trip != nil && h != nil && (name == AlertEndpointFailing || name == AlertEndpointWarned) {
		limit = a.limit(*h, *trip)
	}
	const enable = " Enable it when the receiver works again: PATCH /v1/endpoints/ID with {\"enabled\": true}, or posthorn endpoint enable ID. What is held is then sent, oldest first."
	what := ""
	switch name {
	case AlertEndpointCreated:
		what = "was created."
	case AlertEndpointUpdated:
		what = "was changed: " + strings.Join(changed, ", ") + "."
	case AlertEndpointEnabled:
		what = "was enabled."
	case AlertEndpointDeleted:
		what = "was deleted."
	case AlertEndpointFailing:
		what = "is failing: " + failed + "." + limit + " Look at its latest attempts and repair the receiver. Deliveries are retried by plan."
	case AlertEndpointWarned:
		a.Reason = "failures"
		what = "will be disabled: " + failed + "." + limit + " Repair the receiver: the first success ends this warning. Once it is disabled, its deliveries are held." + enable
	case AlertEndpointDisabled:
		a.Reason = e.DisabledReason
		what = "was disabled" + disabledText(e.DisabledReason, failed) + "."
		if e.Status == Disabled {
			what += " Events published from now on do not reach it."
		}
		what += enable
	case AlertEndpointRecovered:
		what = "works again: an attempt succeeded."
	}
	a.Message = e.subject() + " " + what
	return a
}

func lastText(o *Outcome) string {
	switch {
	case o.Status != 0:
		return fmt.Sprintf(", the latest with status %d", o.Status)
	case o.Class != "":
		return fmt.Sprintf(", the latest with %s", o.Class)
	}
	return ""
}

func disabledText(reason, failed string) string {
	switch reason {
	case "failures":
		return " because " + failed
	case "gone":
		return " because it answered 410 Gone"
	}
	return " by hand"
}

// limit notes when the rule disables the endpoint and returns it as a sentence.
func (a *EndpointAlert) limit(h Health, t Trip) string {
	if at := h.DisableAt(t); !at.IsZero() {
		a.DisableAt = AlertTime(at)
		if t.N > 1 {
			a.DisableAfter = t.N
		}
		return fmt.Sprintf(" Unless an attempt succeeds, it is disabled on %s.", dateText(at))
	}
	if t.Count == TripNever || t.N <= 0 {
		return ""
	}
	a.DisableAfter = t.N
	return fmt.Sprintf(" Unless an attempt succeeds, it is disabled after %d failures in a row; there were %d.", t.N, h.Failures)
}

// NewDeliveryAlert returns the data of the alert about a delivery that is now failed.
// event is the id of its event, unless the platform gave it another text.
func NewDeliveryAlert(d *Delivery, e *Endpoint, event ID, at time.Time) *DeliveryAlert {
	last := ""
	switch {
	case d.LastStatus != 0:
		last = fmt.Sprintf(", the last with status %d", d.LastStatus)
	case d.LastError != "":
		last = fmt.Sprintf(", the last with %s", d.LastError)
	}
	return &DeliveryAlert{
		Message: fmt.Sprintf("Delivery %s of an event of the type %s to endpoint %s (%s) of tenant %s failed for good after %d attempts%s. When the receiver works again, send it again: POST /v1/deliveries/ID/retry, or a replay of what failed.",
			d.ID, d.EventType, e.ID, hostOf(e.URL), e.Scope.Tenant, d.Attempts, last),
		Tenant: d.Scope.Tenant, Mode: d.Scope.Mode.String(), Event: event.String(), EventType: d.EventType, Delivery: d.ID.String(),
		Endpoint: e.ID.String(), URL: MaskURL(e.URL), Reason: string(d.Reason), Attempts: d.Attempts, LastAt: AlertTime(at),
		LastStatus: d.LastStatus, LastError: string(d.LastError)}
}

// NewReplayAlert returns the data of the alert about a replay that ended.
func NewReplayAlert(j *ReplayJob) *JobAlert {
	return &JobAlert{
		Message: fmt.Sprintf("Replay %s to endpoint %s of tenant %s is %s: %d attempts succeeded, %d failed, %d were not made.",
			j.ID, j.Endpoint, j.Scope.Tenant, j.State, j.Delivered, j.Failed, j.Dropped),
		Tenant: j.Scope.Tenant, Mode: j.Scope.Mode.String(), Job: "replay", ID: j.ID.String(), Endpoint: j.Endpoint.String(), State: j.State.String(),
		Requested: j.Requested, Delivered: j.Delivered, Failed: j.Failed, Dropped: j.Dropped}
}

// NewThresholdAlert returns the data of AlertExceeded. If cleared is set, it is the data
// of AlertCleared.
func NewThresholdAlert(figure string, value, threshold float64, since time.Time, cleared bool, node int64) *ThresholdAlert {
	a := &ThresholdAlert{Figure: figure, Value: value, Threshold: threshold, Since: AlertTime(since), Node: node}
	is := "over"
	if cleared {
		is = "below"
	}
	switch figure {
	case "backlog":
		a.Message = fmt.Sprintf("%.0f deliveries wait in the memory of node %d, %s the threshold of %.0f.", value, node, is, threshold)
	case "delay":
		a.Message = fmt.Sprintf("First attempts of node %d began up to %s after acceptance, %s the threshold of %s.",
			node, seconds(value), is, seconds(threshold))
	case "disk":
		a.Message = fmt.Sprintf("The file system of the data directory of node %d is %.1f %% full, %s the threshold of %.0f %%.", node, value, is, threshold)
	}
	if cleared {
		a.Message += " It was over it since " + dateText(since) + "."
	}
	return a
}

func seconds(n float64) string {
	return (time.Duration(n*1000) * time.Millisecond).String()
}

// Finish computes the sums and the message of a digest.
func (d *DigestAlert) Finish(mode Mode) {
	d.Mode = mode.String()
	var names []string
	d.Total = 0
	for name, n := range d.Counts {
		names = append(names, fmt.Sprintf("%d of %s", n, name))
		d.Total += n
	}
	slices.Sort(names)
	d.Message = fmt.Sprintf("%d more operational events: %s.", d.Total, strings.Join(names, ", "))
	if d.Examples == nil {
		d.Examples = []AlertExample{}
	}
}
