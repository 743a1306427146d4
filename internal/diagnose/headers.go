package diagnose

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/webhook"
)

// headers checks that the required headers are present.
func (x *exam) headers() (Verdict, bool) {
	var missing []string
	for _, name := range x.names() {
		values := x.header.Values(name)
		if len(values) > 1 {
			return x.duplicate(name, values), true
		}
		if len(values) == 0 || values[0] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return Verdict{}, false
	}
	if v, found := x.renamed(missing, sameName, true); found {
		return v, true
	}
	if v, found := x.otherFormat(); found {
		return v, true
	}
	if v, found := x.renamed(missing, sameEnd, false); found {
		return v, true
	}
	return Verdict{Cause: MissingHeader, Message: "Without " + strings.Join(missing, " and ") + " there is nothing to check.",
		Notes: []string{"A proxy or framework may drop or rename headers; look at what it forwards."}}, true
}

func (x *exam) duplicate(name string, values []string) Verdict {
	v := Verdict{Cause: DuplicateHeader, Message: name + " occurs " + strconv.Itoa(len(values)) + " times. Which one counts would depend on who reads, so verifiers refuse it.",
		Notes: []string{"Look for a proxy or a copy job that adds headers."}}
	for i, value := range values {
		if once := x.with(name, value); once.settled() {
			v.Notes = append(v.Notes, "With number "+strconv.Itoa(i+1)+" alone the signature is right.")
			break
		}
	}
	return v
}

// with returns the same request with another value of one header.
func (x *exam) with(name, value string) *exam {
	other := *x
	other.header = x.header.Clone()
	other.header.Set(name, value)
	return &other
}

// settled reports whether the signature matches, at any age.
func (x *exam) settled() bool {
	return slices.ContainsFunc(x.q.Secrets, func(secret string) bool { return x.fits(secret, x.spec.Key) })
}

// renamed searches for the missing headers under similar names. Names that are not certain
// count only if the signature can then be checked.
func (x *exam) renamed(missing []string, alike func(want, have string) bool, certain bool) (Verdict, bool) {
	other := *x
	other.header = x.header.Clone()
	var says []string
	for _, want := range missing {
		have := x.found(want, alike)
		if have == "" {
			return Verdict{}, false
		}
		other.header.Set(want, strings.Join(x.header.Values(have), ", "))
		says = append(says, want+" arrived as "+have)
	}
	v := Verdict{Cause: RenamedHeader, Message: "A header was renamed: " + strings.Join(says, ", ") + ".",
		Notes: []string{"Give the verifier the headers under their own names."}}
	then := other.signature()
	vague := then.Cause == WrongSecret || then.Cause == MalformedSignature || then.Cause == MalformedHeader || then.Cause == SecretFormat
	switch {
	case vague && !certain:
		return Verdict{}, false
	case then.Valid():
		v.Notes = append(v.Notes, "With the right names the signature is right.")
	default:
		v.Notes = append(v.Notes, "That is not all: "+then.Message)
	}
	return v, true
}

// found returns the only header with a similar name, or "" if there is not exactly one.
func (x *exam) found(want string, alike func(want, have string) bool) string {
	var names []string
	for name := range x.header {
		if !slices.ContainsFunc(x.names(), func(own string) bool { return http.CanonicalHeaderKey(own) == name }) && alike(want, name) {
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		return ""
	}
	return names[0]
}

// sameName ignores underscores, a prefix x- and the prefix HTTP_ of CGI variables.
func sameName(want, have string) bool { return plain(want) == plain(have) }

// sameEnd compares only the last word, such as signature.
func sameEnd(want, have string) bool { return lastWord(want) == lastWord(have) }

func plain(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return strings.TrimPrefix(strings.TrimPrefix(name, "http-"), "x-")
}

func lastWord(name string) string {
	name = plain(name)
	return name[strings.LastIndexByte(name, '-')+1:]
}

// otherFormat recognises the signature header of another profile.
func (x *exam) otherFormat() (Verdict, bool) {
	var names []string
	header := ""
	if x.q.Known == nil {
		return Verdict{}, false
	}
	for _, name := range x.q.Known.Names() {
		p, ok := x.q.Known.Get(name)
		if !ok {
			continue
		}
		for _, spec := range p.Specs() {
			if values := x.header.Values(spec.Header); len(values) == 1 && !strings.EqualFold(spec.Header, x.spec.Header) {
				header = spec.Header
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return Verdict{}, false
	}
	return Verdict{Cause: WrongProfile, Message: "The request is not of profile " + x.q.Profile.Name() + ": it carries " + header + ", the signature of " + strings.Join(names, " and ") + ".",
		Notes: []string{"Check again with --profile " + names[0] + "."}}, true
}

// malformed describes what is wrong with a header that cannot be parsed, and tries to parse
// it with the usual repairs.
func (x *exam) malformed(err error) Verdict {
	value := x.header.Get(x.spec.Header)
	for _, r := range x.repairs(value) {
		if r.value != value && x.with(x.spec.Header, r.value).settled() {
			return Verdict{Cause: MalformedSignature, Message: x.spec.Header + " was changed: the signature is right once " + r.says + "."}
		}
	}
	for _, name := range x.names() {
		parts := strings.Split(x.header.Get(name), ",")
		if len(parts) > 1 && strings.TrimSpace(parts[0]) == strings.TrimSpace(parts[1]) {
			return Verdict{Cause: DuplicateHeader, Message: name + " was sent twice and joined into one with a comma."}
		}
	}
	if text := x.header.Get(x.spec.TimestampHeader); x.spec.TimestampHeader != "" && errors.Is(err, webhook.ErrMalformedHeader) {
		if _, number := strconv.ParseInt(text, 10, 64); number == nil && len(text) == 13 {
			return Verdict{Cause: MalformedHeader, Message: x.spec.TimestampHeader + " counts milliseconds; the format has seconds."}
		}
		return Verdict{Cause: MalformedHeader, Message: reason(err) + "."}
	}
	return Verdict{Cause: MalformedSignature, Message: x.spec.Header + " does not look like this format, which writes it as " + x.spec.Output + ".",
		Notes: []string{reason(err) + "."}}
}

type repair struct{ says, value string }

// repairs lists the changes that tools make to the value of a signature header.
func (x *exam) repairs(value string) []repair {
	bare := strings.Trim(value, " \"'")
	out := []repair{{"the quotation marks around it are removed", bare}}
	if decoded, err := url.QueryUnescape(strings.ReplaceAll(bare, "+", "%2B")); err == nil {
		out = append(out, repair{"its percent-encoding is undone", decoded})
	}
	before, after, _ := strings.Cut(x.spec.Output, "{signature}")
	fixed := !strings.Contains(before+after, "{")
	digits := "padded standard base64"
	if x.spec.Digest == webhook.Hex {
		digits = "lower-case hexadecimal"
	}
	for _, at := range digestStarts(bare) {
		if raw, ok := anyDigest(bare[at:]); ok {
			digest := x.digest(raw)
			out = append(out, repair{"its digest is written in " + digits, bare[:at] + digest})
			if fixed {
				out = append(out, repair{"it is written as " + x.spec.Output + " with the digest in " + digits, before + digest + after})
			}
		}
	}
	return out
}

// digestStarts returns the positions where the digest may start: after a separator, or at 0.
func digestStarts(value string) []int {
	starts := []int{0}
	for i := 1; i < len(value) && len(starts) < 16; i++ {
		if strings.IndexByte(" ,=:;", value[i-1]) >= 0 {
			starts = append(starts, i)
		}
	}
	return starts
}

// anyDigest decodes hexadecimal in any case, or otherwise base64 in any alphabet.
func anyDigest(text string) ([]byte, bool) {
	if raw, err := hex.DecodeString(text); err == nil && len(raw) > 0 {
		return raw, true
	}
	standard, ok := looseBase64(text)
	raw, _ := base64.StdEncoding.DecodeString(standard) // was encoded just now
	return raw, ok
}

// digest encodes a signature as the scheme does.
func (x *exam) digest(raw []byte) string {
	if x.spec.Digest == webhook.Hex {
		return hex.EncodeToString(raw)
	}
	return base64.StdEncoding.EncodeToString(raw)
}
