package profile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

type headerTemplate struct {
	name   string
	parts  []part
	signed string // characters that the value may not contain, because they end it in the signed bytes
}

// Signer signs for one endpoint with the secrets it was compiled from. It is safe for
// concurrent use. Compile a new one when the secrets change, and when one of them expires.
type Signer struct{ signers []*webhook.Signer } // by signature of the profile; nil if no secret fits it

// Signer compiles the secrets, newest first. All of them sign, if the format allows several
// signatures. Each secret is decoded by its own Encoding, so an endpoint keeps its key when
// its profile changes. Each signature of the profile is made with the secrets that fit its
// algorithm. A profile can therefore carry signatures of the old and the new kind of secret
// side by side while both are valid. Signer returns an error if no secret fits any
// signature.
func (p *Profile) Signer(secrets []hook.Secret) (*Signer, error) {
	signer := &Signer{signers: make([]*webhook.Signer, len(p.specs))}
	signs := false
	for i, spec := range p.specs {
		var keys []webhook.Key
		for _, s := range secrets {
			if !fits(spec, s.Encoding) {
				continue
			}
			key, err := webhook.ParseKey(s.Text, webhook.KeyEncoding(s.Encoding))
			if err != nil {
				return nil, fmt.Errorf("read secret version %d: %w", s.Version, err)
			}
			keys = append(keys, key)
		}
		if len(keys) == 0 {
			continue
		}
		var err error
		if signer.signers[i], err = spec.Signer(keys); err != nil {
			return nil, fmt.Errorf("compile signer of %s: %w", spec.Header, err)
		}
		signs = true
	}
	if !signs {
		return nil, fmt.Errorf("compile signer of profile %s: no live secret fits its signatures: %w", p.name, webhook.ErrEmptySecret)
	}
	return signer, nil
}

// Headers appends the headers of one attempt to dst: content type, user agent, the profile's
// own headers, and the signatures over body at in.Now. The signer must come from this
// profile. Names are spelled as in the profile. If Headers returns an error, the request
// must not be sent.
func (p *Profile) Headers(dst []hook.Header, in Input, body []byte, s *Signer) ([]hook.Header, error) {
	if s == nil || len(s.signers) != len(p.specs) {
		return dst, fmt.Errorf("build headers: the signer was not compiled for profile %s", p.name)
	}
	dst = append(dst, p.fixed...)
	buffer := make([]byte, 0, 192)
	for i := range p.headers {
		h := &p.headers[i]
		var whole bool
		if buffer, whole = p.appendHeader(buffer[:0], h, &in); !whole {
			continue
		}
		if !visible(buffer) {
			return dst, fmt.Errorf("build headers: the value of %s holds a control character or is not ASCII", h.name)
		}
		dst = append(dst, hook.Header{Name: h.name, Value: string(buffer)})
	}
	return p.appendSignatures(dst, in, body, s, buffer)
}

// appendHeader appends the value of a header. It reports false, and the header is omitted,
// if a value of the data is missing or not valid in a header, or if all values are empty.
func (p *Profile) appendHeader(dst []byte, h *headerTemplate, in *Input) ([]byte, bool) {
	for _, part := range h.parts {
		switch part.variable {
		case none:
			dst = append(dst, part.text...)
		case eventMember:
			var fits bool
			if dst, fits = appendText(dst, in.Event.Data, part.text, h.signed); !fits {
				return dst, false
			}
		default:
			dst = p.appendVariable(dst, part.variable, in)
		}
	}
	return dst, len(dst) > 0
}

// HeaderNames returns the names of all headers that requests may carry, as the profile
// spells them. They include signatures, and headers that are omitted when the data has no
// value for them.
func (p *Profile) HeaderNames() []string {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, h := range p.fixed {
		add(h.Name)
	}
	for _, h := range p.headers {
		add(h.name)
	}
	for _, spec := range p.specs {
		add(spec.IDHeader)
		add(spec.TimestampHeader)
		add(spec.Header)
	}
	return names
}

func (p *Profile) appendSignatures(dst []hook.Header, in Input, body []byte, s *Signer, buffer []byte) ([]hook.Header, error) {
	m := webhook.Message{ID: p.eventID(in.Event), Timestamp: in.Now, Body: body}
	first := len(dst)
	if p.signsHeaders {
		sent := dst
		m.Header = func(name string) string {
			if h := find(sent, name); h != nil {
				return h.Value
			}
			return ""
		}
	}
	for i := range p.specs {
		spec := &p.specs[i]
		if s.signers[i] == nil {
			continue
		}
		value, err := s.signers[i].AppendSignature(buffer[:0], m)
		if err != nil {
			return dst, fmt.Errorf("sign %s: %w", spec.Header, err)
		}
		if spec.IDHeader != "" && find(dst[first:], spec.IDHeader) == nil {
			dst = append(dst, hook.Header{Name: spec.IDHeader, Value: m.ID})
		}
		if spec.TimestampHeader != "" && find(dst[first:], spec.TimestampHeader) == nil {
			dst = append(dst, hook.Header{Name: spec.TimestampHeader, Value: strconv.FormatInt(in.Now.Unix(), 10)})
		}
		if shared := find(dst[first:], spec.Header); shared != nil {
			shared.Value += spec.Joiner + string(value)
			continue
		}
		dst = append(dst, hook.Header{Name: spec.Header, Value: string(value)})
	}
	return dst, nil
}

// find returns the header that an earlier signature added, or nil. Several schemes may share
// a header.
func find(headers []hook.Header, name string) *hook.Header {
	for i := range headers {
		if headers[i].Name == name {
			return &headers[i]
		}
	}
	return nil
}

// visible reports whether the bytes are valid in a header value: printable ASCII.
func visible[T string | []byte](text T) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// eventID returns an event's id as receivers see it. It has no dot, because dots separate
// the parts of what is signed (Standard Webhooks): an id with one is written as its UUID.
func (p *Profile) eventID(e *hook.Event) string {
	switch p.eventIDs {
	case "msg":
		return hook.MessagePrefix + e.PublicID.Short()
	case "uuid":
		return e.PublicID.String()
	}
	if strings.Contains(e.GivenID, ".") {
		return e.PublicID.String()
	}
	return hook.PublicText(e.PublicID, e.GivenID)
}
