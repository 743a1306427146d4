package profile

import (
	"fmt"
	"slices"
	"strings"
)

// field is one name that a profile file may use. The loader takes what it knows
// and what it demands from these tables, and the reference page is written from
// them, so neither can lag behind the other.
type field struct {
	name     string
	required bool
	takes    string // the values, in Markdown
	means    string
}

// section is the fields of one mapping.
type section struct {
	title  string
	fields []field
}

func (s *section) names() []string {
	var names []string
	for _, f := range s.fields {
		names = append(names, f.name)
	}
	return names
}

var fileFields = section{"The file", []field{
	{"name", true, "1 to 63 of `a-z`, `0-9`, `.`, `_`, `-`", "The name that endpoints and `--profile` use. The names of the built-in profiles are reserved."},
	{"description", false, "text", "One sentence for people."},
	{"management", false, "`none`, `paysway`, `paywise`", "The management API that shows endpoints of this profile. Default `none`."},
	{"content_type", false, "text", "Default `application/json`."},
	{"user_agent", false, "text", "Default `Posthorn/1`."},
	{"mode", false, "mapping", "The values of `$mode`. Default `live` and `test`."},
	{"envelope", true, "`raw`, or a mapping", "The body. `raw` sends the event's data unchanged. A mapping is a JSON template; its members are written in order."},
	{"headers", false, "mapping of names to templates", "Additional headers, at most 32."},
	{"signature", true, "list of 1 to 8 mappings", "How requests are signed. A request carries all signatures."},
	{"secret", true, "mapping", "The form of signing secrets."},
	{"success", true, "`200`, `2xx`, `200-204`, or a list of those", "The statuses that end a delivery as succeeded. A redirect is never followed and never a success."},
	{"retry", true, "mapping", "When a failed attempt is retried: a list of delays, or exponential backoff."},
	{"retry_after_cap", false, "duration, `1s` to `720h`", "The longest `Retry-After` that is honoured. Default: `Retry-After` is ignored."},
	{"gone_disables", false, "`true`, `false`", "Whether a 410 disables the endpoint. Default `false`."},
	{"timeout", true, "duration, `1s` to `2m`", "One deadline for name resolution, connection, TLS, headers and body of the response."},
	{"auto_disable", false, "mapping with one rule", "When failures disable an endpoint. Default: never."},
	{"url", false, "mapping", "Rules for the URLs of endpoints."},
	{"catalogue", false, "list of mappings", "Known event types, for information. Only the management APIs of PaySway and paywise restrict endpoints to them."},
	{"test_event", true, "mapping", "The content of a test event."},
}}

var modeFields = section{"mode", []field{
	{"live", false, "text, boolean or number", "The value in live mode."},
	{"test", false, "text, boolean or number", "The value in test mode."},
}}

var signatureFields = section{"signature", []field{
	{"header", true, "header name", "The header that carries the signature. Signatures in one header need the same `joiner`, which separates them, and outputs that begin differently."},
	{"algorithm", true, "`hmac-sha256`, `hmac-sha512`, `hmac-sha1`, `ed25519`", "`ed25519` signs with secrets of encoding `whsk_`, the others with all others. A signature is left out while no live secret of the endpoint fits it."},
	{"signed", true, "template", "The bytes that are signed, of `{id}`, `{timestamp}` and `{body}`, such as `{id}.{timestamp}.{body}`. `{body}` stands there once, last of all. `{event.data.invoice.id}` is a value of the data that a header carries: see [below](#values-of-the-data)."},
	{"output", true, "template", "The value of the header, of `{signature}`, `{id}` and `{timestamp}`, such as `t={timestamp},v1={signature}`."},
	{"joiner", false, "text", "The separator between the elements of `output`. During a rotation the element with `{signature}` is repeated, newest secret first. Default: only the newest secret signs."},
	{"digest", true, "`hex`, `base64`", "The encoding of the signature: lower-case hex, or standard base64 with padding."},
	{"id_header", false, "header name", "The header that carries the event's id, if `signed` uses `{id}` and `output` does not."},
	{"timestamp_header", false, "header name", "The header that carries the time of signing in Unix seconds, if `signed` uses `{timestamp}` and `output` does not."},
}}

var secretFields = section{"secret", []field{
	{"encoding", true, "`text`, `base64`, `whsec_`, `whsk_`", "How the text of a secret encodes the key: `text` is the key itself; `base64` is decoded; `whsec_` is decoded after the prefix; `whsk_` is an ed25519 private key. The server generates secrets in this encoding."},
	{"bytes", false, "16 to 64", "The number of random bytes in a new secret. Required with `base64` and `whsec_`, invalid otherwise."},
	{"characters", false, "22 to 200", "The number of random URL-safe characters in a new secret. Required with `text`, invalid otherwise."},
	{"prefix", false, "up to 32 characters", "Text before `characters`. It is part of the key."},
	{"import", false, "mapping", "The secrets that callers may supply themselves. Default: none."},
}}

var importFields = section{"secret.import", []field{
	{"min", true, "16 to 1024", "The least number of bytes in the key. A `whsk_` key has 64."},
	{"max", true, "16 to 1024", "The greatest number of bytes in the key."},
	{"encodings", false, "list of `whsec_`, `whsk_`, or of `encoding` alone", "The encodings that are accepted. Default: that of `encoding`. An endpoint that changes to this profile keeps its secret if the secret could be imported."},
}}

var retryFields = section{"retry", []field{
	{"delays", false, "list of 1 to 100 durations, `1s` to `720h`", "The pause after the first failure, the second, and so on. Use either this or `first`."},
	{"then", false, "`fail`, `repeat`", "After the last delay: give up, or repeat that delay without end. Required with `delays`, invalid otherwise."},
	{"first", false, "duration, `1s` to `720h`", "Exponential: the pause after the first failure."},
	{"factor", false, "1 to 100", "Exponential: the factor by which each pause grows. Required with `first`."},
	{"cap", false, "duration, `1s` to `720h`", "Exponential: the longest pause. Required with `first`."},
	{"max_attempts", false, "0 to 1000000", "Exponential: the number of attempts. Default 0: no limit."},
	{"jitter", false, "0 to 1", "A random share of each pause, up to this fraction, is added to it. Default 0."},
	{"max_age", false, "duration, up to `8784h`", "No attempt is planned later than this after acceptance of the event. Default: no limit."},
}}

var tripFields = section{"auto_disable", []field{
	{"attempts", false, "1 to 1000000", "Disable after this many failed attempts in a row."},
	{"deliveries", false, "1 to 1000000", "Disable after this many deliveries in a row that failed for good."},
	{"failing_for", false, "duration, `1m` to `8784h`", "Disable after only failures for this long, and at least `at_least` of them. Operators are warned when both are half reached."},
	{"at_least", false, "1 to 1000000", "With `failing_for`: the number of attempts in a row that must have failed. Default 10."},
}}

var urlFields = section{"url", []field{
	{"ip_hosts", true, "`true`, `false`", "Whether the host may be an IP address. Without `url` it may not."},
}}

var catalogueFields = section{"catalogue", []field{
	{"type", true, "event type", "Its [name](api.md#event-types)."},
	{"description", false, "text", "One sentence for people."},
	{"example", true, "text with a JSON object", "Data of such an event."},
}}

var testEventFields = section{"test_event", []field{
	{"type", true, "event type", "Its [name](api.md#event-types)."},
	{"data", true, "text with a JSON object", "Its data."},
}}

// Reference returns the reference page of the format, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, s := range []*section{&fileFields, &modeFields, &signatureFields, &secretFields, &importFields,
		&retryFields, &tripFields, &urlFields, &catalogueFields, &testEventFields} {
		title := "`" + s.title + "`"
		if s == &fileFields {
			title = s.title
		}
		fmt.Fprintf(&b, "\n### %s\n\n| name | takes | meaning |\n| --- | --- | --- |\n", title)
		for _, f := range s.fields {
			name := "`" + f.name + "`"
			if f.required {
				name += " (required)"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, f.takes, f.means)
		}
	}
	b.WriteString(referenceVariables)
	for _, name := range variableNames() {
		fmt.Fprintf(&b, "| `$%s` | %s |\n", name, variables[name].means)
	}
	b.WriteString(referenceTail)
	return b.String()
}

func variableNames() []string {
	var names []string
	for name := range variables {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return int(variables[a].id) - int(variables[b].id) })
	return names
}

const referenceHead = `# Profiles

<!-- Written by "go test ./internal/profile -run TestReferencePage -update"; change internal/profile/format.go. -->

A profile defines a wire format and its policy: everything that a receiver sees of a delivery, when attempts are retried,
and when an endpoint is disabled. It is a YAML file. ` + "`standard`, `paysway`, `paysway-2025-09` and `paywise`" + ` are built in. The
server reads others from ` + "`*.yaml`" + ` in the directory ` + "`--profile-dir`" + `. An endpoint names its profile; ` + "`--profile`" + ` sets the default.

` + "```" + `
posthorn profile list                   list the profiles
posthorn profile show standard          print a profile; a good start for your own
posthorn profile check my-format.yaml   print the mistakes in a file, or what it sends and when
posthorn profile format                 print this page
posthorn profile public-key < secret    print the public key (whpk_) of an ed25519 secret (whsk_)
` + "```" + `

[examples/profiles](../examples/profiles) has examples to copy: the signatures of Stripe and GitHub, Standard Webhooks
with ed25519 keys, Standard Webhooks with both kinds of signature, and an in-house format that takes ids out of the data.

## Changing a profile

Edit the file, check it, then send the server ` + "`SIGHUP`" + `. The server reads the directory again.

- If any file has a mistake, nothing changes. The log names file, line and reason.
- New deliveries use the new text. A delivery accepted before keeps its text, so a retry sends the same bytes. Its success
  rule, retries and timeout follow the new text at once.
- A profile whose file was removed stays in force until the next start.
- ` + "`--profile`" + ` and the built-in profiles do not change.

## Migrating from shared secrets to ed25519

1. Set the endpoint's ` + "`profile`" + ` to one like ` + "`standard-dual`" + ` of the examples. The shared secret stays, and nothing changes for
   the receiver.
2. Rotate the secret with an ` + "`overlap`" + ` of up to ` + "`168h`" + `. The new secret is an ed25519 key. During the overlap both secrets sign,
   in one header: ` + "`webhook-signature: v1,... v1a,...`" + `. Give the receiver the public key (` + "`whpk_...`" + `), never the secret:
   whoever has the secret can sign.
3. After the overlap only ` + "`v1a`" + ` remains. Set the profile to one like ` + "`standard-ed25519`" + `.

## The format

The server refuses YAML anchors, aliases and tags, unknown and duplicate names, and files larger than 1 MiB. Durations are
written ` + "`90s`, `5m` or `24h`" + `. A profile cannot set headers that frame or route the request (` + "`Host`, `Content-*`," + `
` + "`Transfer-Encoding`" + ` and the like).
`

const referenceVariables = `
## Templates

Envelope and headers can use these variables. Write ` + "`${name}`" + ` where a letter follows, and ` + "`$$`" + ` for a dollar sign. Times are
RFC 3339 in UTC with six fractional digits.

| variable | meaning |
| --- | --- |
`

const referenceTail = `
In an envelope, ` + "`$event.data`" + ` is always a whole value. The member ` + "`\"...\": $event.data`" + ` inserts the data's members into the
object, except those that the object sets itself. As whole values, ` + "`$mode` and `$event.created_unix`" + ` keep their JSON type. The data
is copied byte for byte.

The templates of ` + "`signed` and `output`" + ` use ` + "`{id}`, `{timestamp}`, `{body}` and `{signature}`" + `. Between two placeholders there is fixed text whose first
character cannot be part of a value, such as a dot, or bytes could move from one value into the next.
` + referenceMembers

const referenceMembers = `
## Values of the data

` + "`" + `$event.data.invoice.id` + "`" + ` is the value of the member ` + "`" + `id` + "`" + ` of the member ` + "`" + `invoice` + "`" + ` of the data. Letters, digits, underscores and dots after ` + "`" + `$event.data.` + "`" + ` belong to the name; with
other characters, or where a letter follows, braces are needed: ` + "`" + `${event.data.invoice-id}` + "`" + `. Underneath it is a JSON pointer (RFC 6901), which may be written itself, in braces: ` + "`" + `${event.data./invoice/id}` + "`" + `.
There a name may hold dots, ` + "`" + `~1` + "`" + ` is a slash in a name and ` + "`" + `~0` + "`" + ` a tilde. In an array a number, from 0, names an element. A pointer has at most 16 levels and 256 bytes; a profile uses at most 32 values.

A value is a string, a number or a boolean of at most 1,024 bytes as it stands in the data. Everything else counts as missing: what is not there, ` + "`" + `null` + "`" + `, an object, an array, something longer. No event is
refused for a value that is missing, for other endpoints may do without:

| where | the value | missing |
| --- | --- | --- |
| alone in the envelope | stands there as it stands in the data: ` + "`" + `12.50` + "`" + ` stays ` + "`" + `12.50` + "`" + `, a string keeps its escapes | ` + "`" + `null` + "`" + ` |
| within a text of the envelope | its text; the member stays a string | the whole text is ` + "`" + `null` + "`" + ` |
| in a header | its text, up to 256 characters of printable ASCII without outer spaces; one that is longer, or holds a line break, a control character or a letter such as ` + "`" + `ü` + "`" + `, counts as missing too | the header is left out |
| in ` + "`" + `signed` + "`" + ` | what the header that carries it has | an empty text |

A header that would be empty is left out too. Data that strangers write can take a header away; it can never add one, or a line.

` + "`" + `{event.data.invoice.id}` + "`" + ` in ` + "`" + `signed` + "`" + ` needs a header of the profile that carries just this value (` + "`" + `X-Invoice-Id: $event.data.invoice.id` + "`" + `), for receivers verify with what they get. The character that follows it
in ` + "`" + `signed` + "`" + ` ends it there, so a value with that character counts as missing in that header: with ` + "`" + `{id}.{event.data.invoice.id}.{body}` + "`" + ` ids with dots are not sent; choose another separator for those.
The package ` + "`" + `webhook` + "`" + ` verifies it with the placeholder ` + "`" + `{header:X-Invoice-Id}` + "`" + `; a receiver of its own puts in the value of the header, or nothing if it is absent.

` + "`" + `posthorn profile check` + "`" + ` warns of values that the test event does not have.
`
