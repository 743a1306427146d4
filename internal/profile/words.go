package profile

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// Words describes the meaning of a profile in sentences, for someone who reviews a file.
type Words struct {
	Signatures []string
	Secret     string
	Success    string
	Retry      string
	Timeout    string
	Disabling  string
	URLs       string
	Warnings   []string // possible mistakes; the profile is usable
}

// Words returns the description of the profile.
func (p *Profile) Words() Words {
	w := Words{
		Secret:  p.secret.words(),
		Success: "Only " + statusWords(p.policy.Success) + " is success.",
		Retry:   retryWords(p.policy.Retry),
		Timeout: "An attempt may take " + durationWords(p.policy.Timeout) + ".",
		URLs:    "Hosts are names, not IP addresses.",
	}
	for _, s := range p.specs {
		w.Signatures = append(w.Signatures, signatureWords(s))
	}
	if p.policy.RetryAfterCap > 0 {
		w.Retry += " Retry-After is honoured up to " + durationWords(p.policy.RetryAfterCap) + "."
	} else {
		w.Retry += " Retry-After is ignored."
	}
	w.Warnings = p.warnings()
	w.Disabling = tripWords(p.policy.Trip)
	if p.policy.GoneDisables {
		w.Disabling += " A 410 disables an endpoint at once."
	}
	if p.url.IPHosts {
		w.URLs = "Hosts may be names or public IP addresses."
	}
	return w
}

// warnings reports event types whose names do not follow the advice of Standard Webhooks,
// and values of the data that the test event does not have.
func (p *Profile) warnings() []string {
	var out []string
	for _, t := range append(p.Catalogue(), p.test) {
		if text := fmt.Sprintf("The event type %s has other separators than dots, which Standard Webhooks advises.", t.Name); !hook.DottedType(t.Name) && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	missing := func(pointer, effect string) {
		out = append(out, fmt.Sprintf("The test event has no usable value at %s: %s.", pointer, effect))
	}
	for _, h := range p.headers {
		for _, part := range h.parts {
			if part.variable != eventMember {
				continue
			}
			if _, fits := appendText(nil, p.test.Example, part.text, h.signed); !fits {
				missing(part.text, "it goes out without the header "+h.name)
			}
		}
	}
	for _, s := range p.envelope.steps {
		parts := s.parts
		if s.kind == stepMember {
			parts = []part{{eventMember, s.text}}
		}
		for _, part := range parts {
			if part.variable == eventMember && scalarAt(p.test.Example, part.text) == nil {
				missing(part.text, "its body has null there")
			}
		}
	}
	return out
}

func signatureWords(s webhook.Spec) string {
	name := map[webhook.Algorithm]string{webhook.HMACSHA256: "HMAC-SHA256", webhook.HMACSHA512: "HMAC-SHA512",
		webhook.HMACSHA1: "HMAC-SHA1", webhook.Ed25519: "ed25519"}[s.Algorithm]
	text := fmt.Sprintf("%s: %s, where {signature} is the %s of %s over %s.", s.Header, s.Output, s.Digest, name, s.Signed)
	if s.Joiner == "" {
		return text + " Only the newest secret signs."
	}
	return text + " During a rotation all live secrets sign."
}

func (r secretRule) words() string {
	var text string
	switch r.encoding {
	case hook.EncodingText:
		text = fmt.Sprintf("A new secret is %q and %d random characters; its bytes are the key.", r.prefix, r.characters)
		text = strings.Replace(text, `"" and `, "", 1)
	case hook.EncodingWhsk:
		text = "A new secret is an ed25519 private key (whsk_); receivers get its public key (whpk_)."
	case hook.EncodingWhsec:
		text = fmt.Sprintf("A new secret is whsec_ and the base64 of %d random bytes, the key.", r.bytes)
	default:
		text = fmt.Sprintf("A new secret is the base64 of %d random bytes, the key.", r.bytes)
	}
	if len(r.imported) == 0 {
		return text + " Secrets cannot be brought along."
	}
	var kinds []string
	for _, encoding := range r.imported {
		kinds = append(kinds, string(encoding))
	}
	size := strconv.Itoa(r.importMin)
	if r.importMax > r.importMin {
		size += " to " + strconv.Itoa(r.importMax)
	}
	return fmt.Sprintf("%s Secrets can be brought along as %s, with a key of %s bytes.", text, strings.Join(kinds, " or "), size)
}

func statusWords(set hook.StatusSet) string {
	var parts []string
	for _, r := range set {
		part := strconv.Itoa(r.From)
		if r.To != r.From {
			part += " to " + strconv.Itoa(r.To)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " or ")
}

// retryWords describes the first pauses and how the schedule continues.
func retryWords(r hook.Retry) string {
	const shown = 12
	var pauses []string
	var total time.Duration
	last, ends := time.Duration(0), false
	for n := 1; n <= shown; n++ {
		delay, more := r.Delay(n)
		if !more {
			ends = true
			break
		}
		if n > 1 && delay == last && len(r.Steps) == 0 {
			break
		}
		if len(r.Steps) > 0 && n > len(r.Steps) {
			break
		}
		pauses, total, last = append(pauses, durationWords(delay)), total+delay, delay
	}
	if len(pauses) == 0 {
		return "A failed attempt is not repeated."
	}
	text := "A failed attempt is repeated after " + strings.Join(pauses, ", ")
	switch {
	case ends:
		text += fmt.Sprintf(", then given up: %d attempts over %s", len(pauses)+1, durationWords(total))
	case r.MaxAttempts > 0:
		text += fmt.Sprintf(", and so on up to every %s, %d attempts in all", durationWords(capOf(r, last)), r.MaxAttempts)
	default:
		text += ", and so on up to every " + durationWords(capOf(r, last))
		if r.MaxAge == 0 {
			text += " without end"
		}
	}
	if r.MaxAge > 0 {
		text += ", not later than " + durationWords(r.MaxAge) + " after the event"
	}
	if r.Jitter > 0 {
		text += fmt.Sprintf("; up to %g %% is added by chance", r.Jitter*100)
	}
	return text + "."
}

func capOf(r hook.Retry, last time.Duration) time.Duration {
	if len(r.Steps) > 0 || r.Factor == 1 {
		return last
	}
	return r.Cap
}

func tripWords(t hook.Trip) string {
	switch t.Count {
	case hook.TripAttempts:
		return fmt.Sprintf("%d failed attempts in a row disable an endpoint.", t.N)
	case hook.TripDeliveries:
		return fmt.Sprintf("%d deliveries in a row that were given up disable an endpoint.", t.N)
	case hook.TripDuration:
		return fmt.Sprintf("Nothing but failures for %s, at least %d attempts, disables an endpoint.", durationWords(t.For), t.N)
	}
	return "Failures never disable an endpoint."
}

// durationWords formats a duration in the usual way: "2 h", "75 h 35 min", "5 s".
func durationWords(d time.Duration) string {
	var parts []string
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / unit.of; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, unit.name))
			d %= unit.of
		}
	}
	if len(parts) == 0 {
		return "0 s"
	}
	return strings.Join(parts, " ")
}

// Sample returns the request of the profile's test event at a fixed time, in live mode. It
// is signed with publicly known secrets, one for each signature that needs one of its own.
// Use it for display, never for sending.
func (p *Profile) Sample() ([]hook.Header, []byte, error) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := Input{
		Event: &hook.Event{
			ID: sampleID(1), PublicID: sampleID(1), Scope: hook.Scope{Tenant: "acme", Mode: hook.Live},
			Type: p.test.Name, CreatedAt: at, AcceptedAt: at, Data: p.test.Example,
		},
		Delivery: sampleID(2), Attempt: 1, Now: at,
	}
	var secrets []hook.Secret
	for _, spec := range p.specs {
		secret := sampleSecret(hook.Encoding(spec.Key))
		if !slices.Contains(secrets, secret) {
			secrets = append(secrets, secret)
		}
	}
	signer, err := p.Signer(secrets)
	if err != nil {
		return nil, nil, err
	}
	body := p.Render(nil, in)
	headers, err := p.Headers(nil, in, body, signer)
	return headers, body, err
}

func sampleID(n byte) hook.ID {
	return hook.ID{0x01, 0x9b, 0x7c, 0xa0, 0x00, 0x00, 0x70, 0x00, 0x80, 0, 0, 0, 0, 0, 0, n}
}

func sampleSecret(encoding hook.Encoding) hook.Secret {
	zeros := make([]byte, ed25519.SeedSize)
	text := base64.StdEncoding.EncodeToString(zeros)
	switch encoding {
	case hook.EncodingText:
		text = string(bytes.Repeat([]byte("0"), 32))
	case hook.EncodingWhsec:
		text = string(encoding) + text
	case hook.EncodingWhsk:
		text = string(encoding) + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(zeros))
	}
	return hook.Secret{Text: text, Encoding: encoding}
}
