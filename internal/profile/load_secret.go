package profile

import "github.com/posthorn/posthorn/internal/hook"

// The bounds of secrets, in bytes or characters.
const (
	minSecret = 16
	maxSecret = 1024
)

func readSecret(v value) secretRule {
	if !v.present() {
		return secretRule{}
	}
	m := v.mapping().only("bytes", "characters", "encoding", "prefix", "import")
	rule := secretRule{
		bytes:      m.get("bytes").number(minSecret, 64),
		characters: m.get("characters").number(22, 200), // 22 hold 132 random bits
		prefix:     m.get("prefix").text(),
		encoding: hook.Encoding(m.need("encoding").word(
			string(hook.EncodingText), string(hook.EncodingBase64), string(hook.EncodingWhsec))),
	}
	switch isText := rule.encoding == hook.EncodingText; {
	case isText && (rule.characters == 0 || rule.bytes != 0):
		v.fail("encoding text needs characters, and no bytes")
	case !isText && (rule.bytes == 0 || rule.characters != 0 || rule.prefix != ""):
		v.fail("encoding %s needs bytes, and no characters or prefix", rule.encoding)
	case !graphic(rule.prefix) || len(rule.prefix) > 32:
		v.fail("the prefix must be up to 32 printable ASCII characters without spaces")
	}
	if imported := m.get("import"); imported.present() {
		bounds := imported.mapping().only("min", "max")
		rule.importMin = bounds.need("min").number(minSecret, maxSecret)
		rule.importMax = bounds.need("max").number(minSecret, maxSecret)
		if rule.importMin > rule.importMax {
			imported.fail("min is more than max")
		}
	}
	return rule
}
