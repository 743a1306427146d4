package profile_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// Facts about the two documented formats that the profiles themselves determine. The pages
// in docs/conformance refer to the tests by name.

func memberNames(t *testing.T, text []byte) (names []string) {
	t.Helper()
	for _, m := range readMembers(t, text) {
		names = append(names, m.name)
	}
	return names
}

// PaySway: four members, all present, and no account, tenant or mode.
func TestPaySwayEnvelope(t *testing.T) {
	for name, created := range map[string]string{"paysway": "createdAt", "paysway-2025-09": "createdDate"} {
		t.Run(name, func(t *testing.T) {
			in := input()
			in.Event.Data = []byte(`{"id": "r", "externalUserId": "u"}`)
			live := builtin(t, name).Render(nil, in)
			if diff := cmp.Diff([]string{"id", created, "eventType", "object"}, memberNames(t, live)); diff != "" {
				t.Error(diff)
			}
			want := `{"id":"45239619-07eb-47c7-9a58-f98650c269ba","` + created + `":"2026-04-24T10:30:45.123456Z","eventType":"mandate.created",` +
				`"object":{"id": "r", "externalUserId": "u"}}`
			if got := string(live); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			in.Event.Scope = hook.Scope{Tenant: "another", Mode: hook.Test}
			if got := string(builtin(t, name).Render(nil, in)); got != want {
				t.Errorf("tenant or mode show: %s", got)
			}
		})
	}
}

// The header contains t and v1 and nothing else, joined without a space.
func TestPaySwaySignatureHeader(t *testing.T) {
	p := builtin(t, "paysway")
	in := input()
	headers, err := p.Headers(nil, in, p.Render(nil, in), signer(t, p, secrets["paysway"]))
	if err != nil {
		t.Fatal(err)
	}
	shape := regexp.MustCompile(`^t=1777026700,v1=[0-9a-f]{64}$`)
	i := slices.IndexFunc(headers, func(h hook.Header) bool { return h.Name == "X-PaySway-Signature" })
	if i < 0 || !shape.MatchString(headers[i].Value) || len(headers) != 3 {
		t.Errorf("%v", headers)
	}
}

// The documented event types in both spellings, with objects that have the documented
// members and values.
func TestPaySwayCatalogue(t *testing.T) {
	for name, c := range map[string]struct{ dot, created, updated, match string }{
		"paysway": {".", "createdAt", "updatedAt", "MATCH"}, "paysway-2025-09": {"_", "createdDate", "updatedDate", "FULL_MATCH"},
	} {
		t.Run(name, func(t *testing.T) {
			recipient := []string{"id", "externalUserId"}
			verification := []string{"id", c.created, c.updated, "state"}
			want := map[string][]string{
				"RECIPIENT" + c.dot + "CREATED": recipient, "RECIPIENT" + c.dot + "UPDATED": recipient, "RECIPIENT" + c.dot + "DELETED": recipient,
				"ACCOUNT_VERIFICATION" + c.dot + "SUBMITTED": verification,
				"ACCOUNT_VERIFICATION" + c.dot + "COMPLETED": append(slices.Clone(verification), "result"),
				"ACCOUNT_VERIFICATION" + c.dot + "FAILED":    append(slices.Clone(verification), "failureReason"),
			}
			states := map[string]string{"SUBMITTED": "PENDING", "COMPLETED": "COMPLETED", "FAILED": "FAILED"}
			for _, entry := range builtin(t, name).Catalogue() {
				if diff := cmp.Diff(want[entry.Name], memberNames(t, entry.Example)); diff != "" {
					t.Errorf("%s: %s", entry.Name, diff)
				}
				delete(want, entry.Name)
				var object struct {
					State, FailureReason string
					Result               struct {
						AccountStatus     string
						AccountHolderName struct{ VerifiedName, MatchStatus string }
					}
				}
				if err := json.Unmarshal(entry.Example, &object); err != nil {
					t.Fatal(err)
				}
				if action := entry.Name[strings.LastIndexAny(entry.Name, "._")+1:]; object.State != states[action] {
					t.Errorf("%s: state %q", entry.Name, object.State)
				}
				if r := object.Result; object.State == "COMPLETED" && (r.AccountStatus != "ACTIVE" || r.AccountHolderName.MatchStatus != c.match || r.AccountHolderName.VerifiedName == "") {
					t.Errorf("%s: %+v", entry.Name, r)
				}
				reasons := []string{"INVALID_FIELD", "UNAVAILABLE_FINANCIAL_INSTITUTION", "UNSUPPORTED_FINANCIAL_INSTITUTION", "UNEXPECTED_ERROR"}
				if object.State == "FAILED" && !slices.Contains(reasons, object.FailureReason) {
					t.Errorf("%s: reason %q", entry.Name, object.FailureReason)
				}
			}
			if len(want) != 0 {
				t.Errorf("not in the catalogue: %v", want)
			}
		})
	}
}

// paywise: exactly the fourteen documented types, and amounts as decimal strings.
func TestPaywiseCatalogue(t *testing.T) {
	want := strings.Fields(`mandate.created mandate.updated mandate.status_updated mandate.closed mandate.balance_updated mandate.message_created
		claim.created claim.updated payment.created payment.updated statement.created statement.updated request_to_client.created request_to_client.answered`)
	var got []string
	amounts, decimal := 0, regexp.MustCompile(`^\{"value": "\d+\.\d\d", "currency": "[A-Z]{3}"\}$`)
	for _, entry := range builtin(t, "paywise").Catalogue() {
		got = append(got, entry.Name)
		for _, m := range readMembers(t, entry.Example) {
			if strings.Contains(m.name, "amount") || strings.Contains(m.name, "balance") {
				amounts++
				if !decimal.MatchString(m.value) {
					t.Errorf("%s: %s is %s", entry.Name, m.name, m.value)
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || amounts < 4 {
		t.Errorf("%d amounts; %s", amounts, diff)
	}
}

// paywise: event, timestamp and data, without an id. The company and the mode are the first
// two members of data, and a platform cannot forge them.
func TestPaywiseEnvelope(t *testing.T) {
	in := input()
	body := builtin(t, "paywise").Render(nil, in)
	if diff := cmp.Diff([]string{"event", "timestamp", "data"}, memberNames(t, body)); diff != "" {
		t.Error(diff)
	}
	members := readMembers(t, body)
	if members[0].value != `"mandate.created"` || members[1].value != `"2026-04-24T10:30:46.000000Z"` {
		t.Errorf("%s", body)
	}
	data := readMembers(t, []byte(members[2].value))
	if data[0] != (member{"company_id", `"a1b2c3d4-e5f6-7890-abcd-ef1234567890"`}) || data[1] != (member{"access_mode", `"production"`}) || strings.Contains(string(body), "forged") {
		t.Errorf("%s", body)
	}
	if id := in.Event.PublicID.String(); strings.Contains(string(body), id) || strings.Contains(string(body), in.Event.ID.String()) {
		t.Errorf("an event id in the body: %s", body)
	}
}

// paywise: the headers repeat values of the body and identify the delivery. None of them
// depends on the attempt or on its time.
func TestPaywiseHeaders(t *testing.T) {
	p := builtin(t, "paywise")
	in := input()
	body := p.Render(nil, in)
	sent := func() map[string]string {
		list, err := p.Headers(nil, in, body, signer(t, p, secrets["paywise"]))
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, h := range list {
			all[h.Name] = h.Value
		}
		return all
	}
	first := sent()
	if !regexp.MustCompile(`^sha256=[0-9a-f]{64}$`).MatchString(first["X-Paywise-Signature"]) {
		t.Errorf("signature %q", first["X-Paywise-Signature"])
	}
	want := map[string]string{"Content-Type": "application/json", "User-Agent": "paywise-webhooks/1.0", "X-Paywise-Event": "mandate.created",
		"X-Paywise-Delivery-ID": in.Delivery.String(), "X-Paywise-Signature": first["X-Paywise-Signature"]}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	in.Attempt, in.Now = 4, in.Now.AddDate(0, 0, 1)
	if diff := cmp.Diff(first, sent()); diff != "" {
		t.Errorf("a later attempt: %s", diff)
	}
	in.Delivery = id("019dbf5e-0000-7000-9000-00000000000e")
	if sent()["X-Paywise-Delivery-ID"] == first["X-Paywise-Delivery-ID"] {
		t.Error("two deliveries share an id")
	}
}

// paywise: receivers read a single digest, so during a rotation only the newest secret
// signs.
func TestPaywiseRotation(t *testing.T) {
	p := builtin(t, "paywise")
	const newest = "0123456789_abcdefghijklmnopqrstuvwxyzABC"
	s, err := p.Signer([]hook.Secret{{Text: newest, Encoding: hook.EncodingText}, {Text: secrets["paywise"], Encoding: hook.EncodingText}})
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	body := p.Render(nil, in)
	headers, err := p.Headers(nil, in, body, s)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, webhook.Paywise(), newest, headers, body)
	alone, err := p.Headers(nil, in, body, signer(t, p, newest))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(alone, headers); diff != "" {
		t.Error(diff)
	}
}
