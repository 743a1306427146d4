package profile

import (
	"fmt"
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

type headerTemplate struct {
	name  string
	parts []part
}

// Signer signs for one endpoint with the secrets it was compiled from. It is safe
// for concurrent use. Compile it again when the secrets change, and when one of
// them expires.
type Signer struct{ signers []*webhook.Signer }

// Signer compiles the secrets, newest first, all of which will sign as far as the
// format has room for several. Each is decoded by its own Encoding, so an endpoint
// whose profile was changed keeps its key. It fails without a secret.
func (p *Profile) Signer(secrets []hook.Secret) (*Signer, error) {
	keys := make([]webhook.Key, 0, len(secrets))
	for _, s := range secrets {
		key, err := webhook.ParseKey(s.Text, webhook.KeyEncoding(s.Encoding))
		if err != nil {
			return nil, fmt.Errorf("read secret version %d: %w", s.Version, err)
		}
		keys = append(keys, key)
	}
	signer := &Signer{}
	for _, spec := range p.specs {
		compiled, err := spec.Signer(keys)
		if err != nil {
			return nil, fmt.Errorf("compile signer of %s: %w", spec.Header, err)
		}
		signer.signers = append(signer.signers, compiled)
	}
	return signer, nil
}

// Headers appends the headers of one attempt to dst: content type, user agent,
// the profile's own, and the signatures over body at in.Now. The signer must come
// from this profile. Names are spelt as in the profile. On an error nothing may
// be sent.
func (p *Profile) Headers(dst []hook.Header, in Input, body []byte, s *Signer) ([]hook.Header, error) {
	if s == nil || len(s.signers) != len(p.specs) {
		return dst, fmt.Errorf("build headers: the signer was not compiled for profile %s", p.name)
	}
	dst = append(dst, p.fixed...)
	buffer := make([]byte, 0, 192)
	for i := range p.headers {
		h := &p.headers[i]
		buffer = buffer[:0]
		for _, part := range h.parts {
			if part.variable == none {
				buffer = append(buffer, part.text...)
			} else {
				buffer = p.appendVariable(buffer, part.variable, &in)
			}
		}
		if !visible(buffer) {
			return dst, fmt.Errorf("build headers: the value of %s holds a control character or is not ASCII", h.name)
		}
		dst = append(dst, hook.Header{Name: h.name, Value: string(buffer)})
	}
	return p.appendSignatures(dst, in, body, s, buffer)
}

func (p *Profile) appendSignatures(dst []hook.Header, in Input, body []byte, s *Signer, buffer []byte) ([]hook.Header, error) {
	m := webhook.Message{ID: in.Event.PublicID.String(), Timestamp: in.Now, Body: body}
	first := len(dst)
	for i := range p.specs {
		spec := &p.specs[i]
		value, err := s.signers[i].AppendSignature(buffer[:0], m)
		if err != nil {
			return dst, fmt.Errorf("sign %s: %w", spec.Header, err)
		}
		if spec.IDHeader != "" {
			dst = appendOnce(dst, first, spec.IDHeader, m.ID)
		}
		if spec.TimestampHeader != "" {
			dst = appendOnce(dst, first, spec.TimestampHeader, strconv.FormatInt(in.Now.Unix(), 10))
		}
		dst = append(dst, hook.Header{Name: spec.Header, Value: string(value)})
	}
	return dst, nil
}

// appendOnce appends a header unless an earlier signature brought it: two schemes
// side by side may share id and timestamp.
func appendOnce(dst []hook.Header, first int, name, value string) []hook.Header {
	for _, h := range dst[first:] {
		if h.Name == name {
			return dst
		}
	}
	return append(dst, hook.Header{Name: name, Value: value})
}

// visible reports whether the bytes can stand in a header value: printable ASCII.
func visible[T string | []byte](text T) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
