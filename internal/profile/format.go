package profile

import (
	"fmt"
	"slices"
	"strings"
)

// field is one name that a profile file may use. The loader takes the known and the required
// names from these tables, and the reference page is generated from them, so the two always
// agree.
type field struct {
	name     string
	required bool
	takes    string // the values, in Markdown
	means    string
}

// section is the set of fields of one mapping.
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
	{"management", false, "`none`, `paysway`, `paywise`, `svix`", "The management API that shows endpoints of this profile. Default `none`."},
	{"event_id", false, "`given`, `uuid`, `msg`", "How an event's id is written: as the platform gave it (one with a dot as a UUID made of it, because dots separate what is signed), always as a UUID, or as `msg_` and 27 digits of base 62. Default `given`."},
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
	{"algorithm", true, "`hmac-sha256`, `hmac-sha512`, `hmac-sha1`, `ed25519`", "`ed25519` signs with secrets of encoding `whsk_`; the other algorithms sign with secrets of the other encodings. A signature is omitted while no live secret of the endpoint fits it."},
	{"signed", true, "template", "The bytes to sign, made of `{id}`, `{timestamp}` and `{body}`, such as `{id}.{timestamp}.{body}`. `{body}` occurs once and comes last. `{event.data.invoice.id}` is a value of the data that a header carries: see [below](#values-of-the-data)."},
	{"output", true, "template", "The value of the header, made of `{signature}`, `{id}` and `{timestamp}`, such as `t={timestamp},v1={signature}`."},
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
	{"max_age", false, "duration, up to `8784h`", "No attempt is planned later than this after acceptance of the event, or after its `deliver_at`. Default: no limit."},
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
	{"example", true, "text with a JSON object", "Example data of such an event."},
}}

var testEventFields = section{"test_event", []field{
	{"type", true, "event type", "Its [name](api.md#event-types)."},
	{"data", true, "text with a JSON object", "The event's data."},
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
and when an endpoint is disabled. It is a YAML file. ` + "`standard`, `svix`, `paysway`, `paysway-2025-09` and `paywise`" + ` are
built in, and ` + "`slack` and `teams`" + ` for [operational events](operational-events.md). The server reads others from ` + "`*.yaml`" + ` in the directory ` + "`--profile-dir`" + `. An endpoint names its profile; ` + "`--profile`" + ` sets the default.

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

The templates ` + "`signed` and `output`" + ` use ` + "`{id}`, `{timestamp}`, `{body}` and `{signature}`" + `. There must be fixed text between two
placeholders, and its first character must be one that no value contains, such as a dot. Otherwise the same signed bytes
could come from different values.
` + referenceMembers

const referenceMembers = `
## Values of the data

` + "`" + `$event.data.invoice.id` + "`" + ` is the member ` + "`" + `id` + "`" + ` of the member ` + "`" + `invoice` + "`" + ` of the event's data. The name consists of the letters, digits,
underscores and dots after ` + "`" + `$event.data.` + "`" + `. For other characters, or where a letter follows, use braces: ` + "`" + `${event.data.invoice-id}` + "`" + `.
The name stands for a JSON pointer (RFC 6901). You can also write the pointer, in braces: ` + "`" + `${event.data./invoice/id}` + "`" + `. In a pointer
a name can contain dots; ` + "`" + `~1` + "`" + ` is a slash in a name, ` + "`" + `~0` + "`" + ` a tilde. In an array a number, from 0, selects an element. A pointer has at
most 16 levels and 256 bytes. A profile uses at most 32 values.

A value is a string, a number or a boolean of at most 1,024 bytes, as written in the data. Everything else is missing: an absent
member, ` + "`" + `null` + "`" + `, an object, an array, a longer value. An event is not refused because a value is missing, because other endpoints may
not need it:

| where | the value | if missing |
| --- | --- | --- |
| as a whole value of the envelope | as written in the data: ` + "`" + `12.50` + "`" + ` stays ` + "`" + `12.50` + "`" + `, a string keeps its escapes | ` + "`" + `null` + "`" + ` |
| in a text of the envelope | its text; the member is always a string | the whole text is ` + "`" + `null` + "`" + ` |
| in a header | its text: up to 256 characters of printable ASCII without outer spaces. A value that is longer, or contains a line break, a control character or a letter such as ` + "`" + `ü` + "`" + `, is missing too | the header is omitted |
| in ` + "`" + `signed` + "`" + ` | what the header that carries it contains | an empty text |

An empty header is omitted too. Hostile data can therefore remove a header; it can never add a header or a line.

` + "`" + `{event.data.invoice.id}` + "`" + ` in ` + "`" + `signed` + "`" + ` requires a header of the profile that carries only this value (` + "`" + `X-Invoice-Id:
$event.data.invoice.id` + "`" + `), because receivers verify with what they receive. In ` + "`" + `signed` + "`" + `, the character that follows the value ends it.
A value that contains this character is therefore missing in that header. With ` + "`" + `{id}.{event.data.invoice.id}.{body}` + "`" + `, ids with dots
are not sent; use another separator for them. In the package ` + "`" + `webhook` + "`" + `, the placeholder is ` + "`" + `{header:X-Invoice-Id}` + "`" + `. A receiver of its
own uses the value of the header, or nothing if the header is absent.

` + "`" + `posthorn profile check` + "`" + ` warns about values that the test event does not have.
`
