package profile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// maxSignatures limits the number of signatures that one request carries.
const maxSignatures = 8

func (p *Profile) readSignatures(v value) {
	items := v.list()
	if n := len(items); n == 0 || n > maxSignatures {
		v.fail("must hold at least one signature, for unsigned requests are not sent, and at most %d", maxSignatures)
		return
	}
	for _, item := range items {
		spec := p.readSignature(item)
		p.checkShared(item, spec)
		p.specs = append(p.specs, spec)
	}
	p.checkHeaderUses(items)
	issued := func(s webhook.Spec) bool { return fits(s, p.secret.encoding) }
	if v.file.err == nil && !slices.ContainsFunc(p.specs, issued) {
		v.fail("no signature is made with secrets of encoding %s, which the profile issues", p.secret.encoding)
	}
}

func (p *Profile) readSignature(item value) webhook.Spec {
	m := item.section(&signatureFields)
	spec := webhook.Spec{
		Header:          m.get("header").text(),
		IDHeader:        m.get("id_header").text(),
		TimestampHeader: m.get("timestamp_header").text(),
		Algorithm:       webhook.Algorithm(m.get("algorithm").text()),
		Signed:          m.get("signed").text(),
		Output:          m.get("output").text(),
		Joiner:          m.get("joiner").text(),
		Digest:          webhook.Encoding(m.get("digest").text()),
		Key:             webhook.KeyEncoding(p.secret.encoding),
	}
	// The first encoding of the profile's secrets that fits the algorithm.
	for _, encoding := range append([]hook.Encoding{p.secret.encoding}, p.secret.imported...) {
		if fits(spec, encoding) {
			spec.Key = webhook.KeyEncoding(encoding)
			break
		}
	}
	spec.Signed = p.signedMembers(m.get("signed"), spec.Signed)
	if strings.Contains(spec.Output, "{"+memberPrefix) {
		m.get("output").fail("{event.data...} belongs into signed; a header of its own carries the value")
	}
	if err := spec.Check(); err != nil && item.file.err == nil {
		item.fail("%s", strings.TrimPrefix(err.Error(), "webhook: "))
	}
	return spec
}

// signedMembers replaces each {event.data.invoice.id} in the signed content with the header
// that carries exactly this value, because receivers verify with what they receive. From
// then on, the header's value may not contain the character that ends it here.
func (p *Profile) signedMembers(v value, text string) string {
	if strings.Contains(text, "{header:") || strings.Contains(text, "$"+memberPrefix) || strings.Contains(text, "${"+memberPrefix) {
		v.fail("a value of the data is written in braces here, such as {event.data.invoice.id}")
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "{"+memberPrefix)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		path, rest, _ := strings.Cut(after, "}")
		name := fmt.Sprintf("{%s%.150s}", memberPrefix, path)
		pointer, err := pointerOf(path)
		if err != nil {
			v.fail("%s %s", name, err)
			return out.String()
		}
		carrier := slices.IndexFunc(p.headers, func(h headerTemplate) bool { return slices.Equal(h.parts, []part{{eventMember, pointer}}) })
		if carrier < 0 {
			v.fail("%s is signed, so receivers need it: add a header that carries it alone, such as X-Id: $%[1]s", name)
			return out.String()
		}
		if rest != "" {
			p.headers[carrier].signed += rest[:1]
		}
		out.WriteString("{header:" + p.headers[carrier].name + "}")
		p.signsHeaders = true
		text = rest
	}
}

// fits reports whether a signature can be made with secrets of the encoding.
func fits(s webhook.Spec, encoding hook.Encoding) bool {
	return (s.Algorithm == webhook.Ed25519) == (encoding == hook.EncodingWhsk)
}

// checkShared requires that a receiver can distinguish signatures that share a header.
func (p *Profile) checkShared(item value, spec webhook.Spec) {
	for _, other := range p.specs {
		if other.Header != spec.Header {
			continue
		}
		a, _, _ := strings.Cut(other.Output, "{")
		b, _, _ := strings.Cut(spec.Output, "{")
		switch {
		case spec.Joiner == "" || other.Joiner != spec.Joiner:
			item.fail("header %s is set twice; signatures that share it need the same joiner", spec.Header)
		case strings.Contains(spec.Output, spec.Joiner) || strings.Contains(other.Output, spec.Joiner):
			item.fail("header %s is set twice; signatures that share it have outputs of one element", spec.Header)
		case strings.HasPrefix(a, b) || strings.HasPrefix(b, a):
			item.fail("header %s is set twice; signatures that share it have outputs that begin differently", spec.Header)
		}
	}
}

// checkHeaderUses requires that each header has one use and one spelling. Several schemes
// may share their headers.
func (p *Profile) checkHeaderUses(items []value) {
	taken := map[string]string{} // by lower-case name: its use and spelling
	for _, h := range p.headers {
		taken[strings.ToLower(h.name)] = "header"
	}
	for i, spec := range p.specs {
		for _, h := range []struct{ use, name string }{
			{"signature ", spec.Header}, {"id ", spec.IDHeader}, {"timestamp ", spec.TimestampHeader},
		} {
			if h.name == "" {
				continue
			}
			checkHeaderName(items[i], h.name)
			if use, clash := taken[strings.ToLower(h.name)]; clash && use != h.use+h.name {
				items[i].fail("header %s is set twice", h.name)
			}
			taken[strings.ToLower(h.name)] = h.use + h.name
		}
	}
}
