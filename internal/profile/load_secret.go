package profile

import (
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
)

// Limits of secrets, in bytes or characters.
const (
	minSecret  = 16
	maxSecret  = 1024
	privateKey = 64 // bytes of an ed25519 key: seed and public key
)

func readSecret(v value) secretRule {
	if !v.present() {
		return secretRule{}
	}
	m := v.section(&secretFields)
	rule := secretRule{
		bytes:      m.get("bytes").number(minSecret, 64),
		characters: m.get("characters").number(22, 200), // 22 characters contain 132 random bits
		prefix:     m.get("prefix").text(),
		encoding: hook.Encoding(m.get("encoding").word(string(hook.EncodingText), string(hook.EncodingBase64),
			string(hook.EncodingWhsec), string(hook.EncodingWhsk))),
	}
	none := rule.bytes == 0 && rule.characters == 0 && rule.prefix == ""
	switch rule.encoding {
	case hook.EncodingText:
		if rule.characters == 0 || rule.bytes != 0 {
			v.fail("encoding text needs characters, and no bytes")
		}
	case hook.EncodingWhsk:
		if !none {
			v.fail("encoding whsk_ has no bytes, characters or prefix: its length is fixed")
		}
	default:
		if rule.bytes == 0 || rule.characters != 0 || rule.prefix != "" {
			v.fail("encoding %s needs bytes, and no characters or prefix", rule.encoding)
		}
	}
	if !graphic(rule.prefix) || len(rule.prefix) > 32 {
		v.fail("the prefix must be up to 32 printable ASCII characters without spaces")
	}
	if imported := m.get("import"); imported.present() {
		rule.readImport(imported)
	}
	return rule
}

func (r *secretRule) readImport(v value) {
	m := v.section(&importFields)
	r.importMin = m.get("min").number(minSecret, maxSecret)
	r.importMax = m.get("max").number(minSecret, maxSecret)
	if r.importMin > r.importMax {
		v.fail("min is more than max")
	}
	r.imported = []hook.Encoding{r.encoding}
	if list := m.get("encodings"); list.present() {
		r.imported = nil
		for _, item := range list.list() {
			r.imported = append(r.imported, hook.Encoding(item.text()))
		}
		r.checkEncodings(list)
	}
	if slices.Contains(r.imported, hook.EncodingWhsk) && (r.importMin > privateKey || r.importMax < privateKey) {
		v.fail("a whsk_ key has %d bytes, which min and max leave out", privateKey)
	}
}

// checkEncodings requires encodings whose texts cannot be confused with one another.
func (r *secretRule) checkEncodings(v value) {
	if len(r.imported) == 0 {
		v.fail("must name at least one encoding")
	}
	for i, encoding := range r.imported {
		prefixed := encoding == hook.EncodingWhsec || encoding == hook.EncodingWhsk
		if !prefixed && (encoding != r.encoding || len(r.imported) > 1) {
			v.fail("%q: must be whsec_ and whsk_, or %s alone", encoding, r.encoding)
		}
		if slices.Contains(r.imported[:i], encoding) {
			v.fail("%q stands here twice", encoding)
		}
	}
}
