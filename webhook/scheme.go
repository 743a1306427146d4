package webhook

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// scheme is a compiled Spec, with its templates parsed and its algorithm looked up.
type scheme struct {
	spec      Spec
	algorithm algorithm
	head      template   // signed before the body
	tail      template   // signed after the body
	elements  []template // of the signature header
	repeated  int        // index of the element that holds the signature
	needsID   bool
	needsTime bool
}

// Check returns an error if the scheme is invalid, and nil otherwise.
func (s Spec) Check() error {
	_, err := s.compile()
	return err
}

func (s Spec) compile() (*scheme, error) {
	if !validName(s.Header) {
		return nil, fmt.Errorf("webhook: %q cannot be a header name", s.Header)
	}
	for _, other := range []string{s.IDHeader, s.TimestampHeader} {
		if strings.EqualFold(s.Header, other) || strings.EqualFold(s.IDHeader, s.TimestampHeader) && other != "" {
			return nil, fmt.Errorf("webhook: header %s has two uses", other)
		}
	}
	if s.Digest != Hex && s.Digest != Base64 {
		return nil, fmt.Errorf("webhook: unknown digest encoding %q", s.Digest)
	}
	if s.Key != KeyText && s.Key != KeyBase64 && s.Key != KeyWhsec && s.Key != KeyWhsk {
		return nil, fmt.Errorf("webhook: unknown key encoding %q", s.Key)
	}
	if s.Tolerance < 0 {
		return nil, errors.New("webhook: the tolerance is negative")
	}
	known, ok := algorithms[s.Algorithm]
	if !ok {
		return nil, fmt.Errorf("webhook: unknown algorithm %q", s.Algorithm)
	}
	if (s.Algorithm == Ed25519) != (s.Key == KeyWhsk) {
		return nil, fmt.Errorf("webhook: algorithm %s does not sign with keys of encoding %s", s.Algorithm, s.Key)
	}
	c := &scheme{spec: s, algorithm: known}
	if err := c.compileSigned(); err != nil {
		return nil, fmt.Errorf("webhook: signed content: %w", err)
	}
	if err := c.compileOutput(); err != nil {
		return nil, fmt.Errorf("webhook: signature output: %w", err)
	}
	return c, nil
}

func (c *scheme) compileSigned() error {
	signed, err := parseTemplate(c.spec.Signed)
	if err != nil {
		return err
	}
	if signed.count(fieldSignature) > 0 || signed.count(fieldBody) != 1 ||
		signed.count(fieldID) > 1 || signed.count(fieldTimestamp) > 1 || signed.count(fieldHeader) > maxSignedHeaders {
		return errors.New("it holds {body} once, {id} and {timestamp} at most once, at most 8 {header:NAME}, and no {signature}")
	}
	for i, s := range signed {
		if s.field == fieldBody {
			c.head, c.tail = signed[:i], signed[i+1:]
		}
	}
	if c.tail.count(fieldID)+c.tail.count(fieldTimestamp)+c.tail.count(fieldHeader) > 0 {
		return errors.New("{body} comes after {id}, {timestamp} and {header:NAME}, for a body may hold any separator")
	}
	for _, s := range c.head {
		for _, own := range []string{c.spec.Header, c.spec.IDHeader, c.spec.TimestampHeader} {
			if s.field == fieldHeader && strings.EqualFold(s.text, own) {
				return fmt.Errorf("{header:%s} is a header of the signature itself", s.text)
			}
		}
	}
	c.needsID = signed.count(fieldID) == 1
	c.needsTime = signed.count(fieldTimestamp) == 1
	return nil
}

func (c *scheme) compileOutput() error {
	output, err := parseTemplate(c.spec.Output)
	if err != nil {
		return err
	}
	if output.count(fieldSignature) != 1 || output.count(fieldBody) > 0 || output.count(fieldHeader) > 0 ||
		output.count(fieldID) > 1 || output.count(fieldTimestamp) > 1 {
		return errors.New("it holds {signature} once, {id} and {timestamp} at most once, and no {body} or {header:NAME}")
	}
	if c.spec.Joiner != "" && (!separates(c.spec.Joiner) || !printable(c.spec.Joiner)) {
		return fmt.Errorf("joiner %q could be part of a signature", c.spec.Joiner)
	}
	if err := checkSource("{id}", c.needsID, output.count(fieldID) == 1, c.spec.IDHeader); err != nil {
		return err
	}
	if err := checkSource("{timestamp}", c.needsTime, output.count(fieldTimestamp) == 1, c.spec.TimestampHeader); err != nil {
		return err
	}
	c.elements = output.split(c.spec.Joiner)
	for i, e := range c.elements {
		if e.count(fieldSignature) == 1 {
			c.repeated = i
		}
	}
	return nil
}

// checkSource requires that a signed value is transmitted exactly once, and that an unsigned
// value is not transmitted as if it were signed.
func checkSource(placeholder string, signed, inOutput bool, header string) error {
	switch {
	case header != "" && !validName(header):
		return fmt.Errorf("%q cannot be a header name", header)
	case signed && !inOutput && header == "":
		return fmt.Errorf("%s is signed, so it needs a header or a place in the output", placeholder)
	case inOutput && header != "":
		return fmt.Errorf("%s stands in the output and in header %s", placeholder, header)
	case !signed && (inOutput || header != ""):
		return fmt.Errorf("%s is sent but not signed", placeholder)
	}
	return nil
}

// maxSignedHeaders limits the number of other headers that a scheme signs.
const maxSignedHeaders = 8

// checkHeaders validates the values of the other headers that are signed. Without these
// limits, bytes could move between a value and the text that follows it.
func (c *scheme) checkHeaders(get func(name string) string) error {
	for i, s := range c.head {
		if s.field == fieldHeader && !validHeader(valueOf(get, s.text), c.endOf(i)) {
			return fmt.Errorf("the value of %s cannot be signed: it must be up to %d characters of printable ASCII, without outer spaces and without %q", s.text, maxSignedHeader, c.endOf(i))
		}
	}
	return nil
}

// endOf returns the character that ends the placeholder at index i of the head. Fixed text
// follows every placeholder except {body}, because parseTemplate refuses other templates.
func (c *scheme) endOf(i int) byte { return c.head[i+1].text[0] }

func valueOf(get func(name string) string, name string) string {
	if get == nil {
		return ""
	}
	return get(name)
}

// appendHead appends the signed bytes that precede the body.
func (c *scheme) appendHead(dst []byte, id string, timestamp int64, get func(name string) string) []byte {
	for _, s := range c.head {
		switch s.field {
		case fixed:
			dst = append(dst, s.text...)
		case fieldID:
			dst = append(dst, id...)
		case fieldTimestamp:
			dst = strconv.AppendInt(dst, timestamp, 10)
		case fieldHeader:
			dst = append(dst, valueOf(get, s.text)...)
		}
	}
	return dst
}

// appendTail appends the signed bytes that follow the body, which are fixed text only.
func (c *scheme) appendTail(dst []byte) []byte {
	for _, s := range c.tail {
		dst = append(dst, s.text...)
	}
	return dst
}

// claim is the content of a signature header.
type claim struct {
	id         string
	timestamp  string
	signatures [][]byte // decoded and of the right length; others are dropped
}

// parse parses a signature header. It ignores elements that match no element of the scheme,
// so that senders can add signatures of a later version.
func (c *scheme) parse(value string) (claim, error) {
	pieces := []string{value}
	if c.spec.Joiner != "" {
		pieces = strings.Split(value, c.spec.Joiner)
	}
	var got claim
	for _, piece := range pieces {
		for _, element := range c.elements {
			found, ok := element.match(piece)
			if !ok {
				continue
			}
			if err := c.take(&got, found); err != nil {
				return claim{}, err
			}
			break
		}
	}
	return got, nil
}

func (c *scheme) take(got *claim, found values) error {
	for _, part := range []struct {
		into *string
		text string
	}{{&got.id, found[fieldID]}, {&got.timestamp, found[fieldTimestamp]}} {
		if part.text == "" {
			continue
		}
		if *part.into != "" && *part.into != part.text {
			return fmt.Errorf("%w: %s contradicts itself", ErrMalformedHeader, c.spec.Header)
		}
		*part.into = part.text
	}
	if raw, ok := decodeDigest(found[fieldSignature], c.spec.Digest, c.algorithm.size); ok {
		got.signatures = append(got.signatures, raw)
	}
	return nil
}

// values holds the text of each placeholder, indexed by field.
type values [fieldSignature + 1]string

// match extracts the values from a text that has the shape of the template.
func (t template) match(text string) (values, bool) {
	var v values
	for i, s := range t {
		if s.field == fixed {
			rest, ok := strings.CutPrefix(text, s.text)
			if !ok {
				return v, false
			}
			text = rest
			continue
		}
		end := len(text)
		if i+1 < len(t) {
			end = strings.Index(text, t[i+1].text)
		}
		if end <= 0 {
			return v, false
		}
		v[s.field], text = text[:end], text[end:]
	}
	return v, text == ""
}

// decodeDigest accepts only the one text that this package would write for the digest.
func decodeDigest(text string, encoding Encoding, size int) ([]byte, bool) {
	if encoding == Hex {
		if len(text) != hex.EncodedLen(size) || strings.ToLower(text) != text {
			return nil, false
		}
		raw, err := hex.DecodeString(text)
		return raw, err == nil
	}
	if len(text) != base64.StdEncoding.EncodedLen(size) {
		return nil, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	return raw, err == nil && len(raw) == size
}

// parseTimestamp parses decimal Unix seconds: digits only, up to the end of the year 9999.
func parseTimestamp(text string) (int64, bool) {
	const last = 253402300799
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n <= last
}

// checkAge compares whole seconds, because the timestamp is no more precise.
func (c *scheme) checkAge(timestamp int64, now time.Time) error {
	tolerance := c.spec.Tolerance
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	age, limit := now.Unix()-timestamp, int64(tolerance/time.Second)
	if age > limit {
		return fmt.Errorf("%w: signed %d s ago, at most %d s are accepted", ErrTimestampTooOld, age, limit)
	}
	if -age > limit {
		return fmt.Errorf("%w: signed %d s ahead of this clock, at most %d s are accepted", ErrTimestampTooNew, -age, limit)
	}
	return nil
}
