// Package profile owns wire formats: everything of a delivery that a receiver can
// see, and the policy it is delivered by. A profile is a YAML file; four are
// built in, operators add more.
//
// The package promises that a profile which loads can be rendered and signed for
// every event, that rendering appends the event's data byte for byte, and that a
// file with a mistake is refused with file, line and reason. It is pure: it opens
// no connection, starts no goroutine and never reads the clock; only [Profile.NewSecret]
// draws random bytes. It never sends, retries or stores anything.
//
// # The file
//
// The files in builtin are the examples. Unknown names are refused.
//
//	name, description     what endpoints call it; a sentence
//	management            none (default), paysway or paywise
//	content_type          default application/json
//	user_agent            default Posthorn/1
//	mode                  {live: ..., test: ...}: what $mode becomes
//	envelope              raw, or a JSON template written as YAML, in order
//	headers               {Name: template, ...}
//	signature             list of {header, algorithm, signed, output, joiner, digest,
//	                      id_header, timestamp_header}, as in [webhook.Spec]
//	secret                {bytes, encoding: base64 or whsec_} or {characters, prefix, encoding: text};
//	                      import: {min, max} bytes of key, else importing is refused
//	success               200, 2xx, 200-204, or a list of those
//	retry                 {delays, then: fail or repeat} or {first, factor, cap, max_attempts};
//	                      both: jitter (0 to 1), max_age
//	retry_after_cap       longest Retry-After that is honoured; absent: ignored
//	gone_disables         true: a 410 disables the endpoint
//	timeout               of one attempt, 1s to 2m
//	auto_disable          {attempts: N}, {deliveries: N} or {failing_for: duration}; absent: never
//	url                   {ip_hosts: true or false}
//	catalogue             list of {type, description, example}
//	test_event            {type, data}
//
// Templates hold $event.id, $event.type, $event.created_at, $event.created_unix,
// $event.accepted_at, $tenant.id, $mode, $delivery.id and, in headers only,
// $attempt.number; ${name} where letters follow, $$ for a dollar sign. In an
// envelope $event.data stands alone, and the member "..." with the value
// $event.data spreads the data's members, of which those that the object sets
// itself are left out. $mode and $event.created_unix, standing alone, keep the
// JSON type they have. Times are RFC 3339 in UTC with six fractional digits.
package profile
