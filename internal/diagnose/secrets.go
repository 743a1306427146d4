package diagnose

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/posthorn/posthorn/webhook"
)

// reading is another way to derive a key from the text of a secret.
type reading struct {
	cause    Cause
	says     string
	text     string
	encoding webhook.KeyEncoding
}

const (
	whsec    = string(webhook.KeyWhsec)
	notTold  = "The signature was made with the text of the secret as it stands. This format decodes it first: "
	wasMeant = "The signature was made with the decoded secret. This format uses its text as it stands: do not decode it."
)

// readings lists common mistakes in decoding a secret. Public keys have no second reading.
func readings(text string, encoding webhook.KeyEncoding) []reading {
	clean := strings.Trim(text, " \t\r\n\"'")
	bare := strings.TrimPrefix(clean, whsec)
	as := func(r reading, ok bool) []reading {
		if !ok {
			return nil
		}
		return []reading{r}
	}
	out := as(reading{SecretFormat, "The secret was given with white space or quotation marks around it. Store it without.", clean, encoding}, clean != text)
	raw, isHex := hexKey(bare)
	switch encoding {
	case webhook.KeyWhsec, webhook.KeyBase64:
		how := "the part after whsec_ is base64."
		if encoding == webhook.KeyBase64 {
			how = "it is base64."
		}
		loose, isBase64 := looseBase64(bare)
		if encoding == webhook.KeyWhsec {
			out = append(out, as(reading{SecretFormat, "The secret lacks its prefix whsec_; with it, the signature fits.", whsec + bare, encoding}, bare == clean)...)
		} else {
			out = append(out, as(reading{SecretFormat, "The secret has a prefix whsec_ that this format does not use; without it, the signature fits.", bare, encoding}, bare != clean)...)
		}
		out = append(out, as(reading{SecretFormat, "The secret is base64 of another alphabet or without its padding; decoded all the same, the signature fits.", loose, webhook.KeyBase64}, isBase64)...)
		out = append(out,
			reading{SecretNotDecoded, notTold + how, clean, webhook.KeyText},
			reading{SecretNotDecoded, notTold + how, bare, webhook.KeyText})
	case webhook.KeyText:
		loose, isBase64 := looseBase64(bare)
		out = append(out, as(reading{SecretDecoded, wasMeant, loose, webhook.KeyBase64}, isBase64)...)
	default:
		return out
	}
	out = append(out, as(reading{SecretDecoded, "The signature was made with the secret decoded as hexadecimal, which this format does not do.", raw, webhook.KeyBase64}, isHex)...)
	for _, end := range []string{"\n", "\r\n"} {
		out = append(out, reading{SecretFormat, "The signature was made with a line end after the secret: it was read from a file and not trimmed.", clean + end, webhook.KeyText})
	}
	return out
}

// looseBase64 converts any spelling of base64 to the standard one.
func looseBase64(text string) (string, bool) {
	standard := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	raw, err := base64.RawStdEncoding.DecodeString(standard)
	return base64.StdEncoding.EncodeToString(raw), err == nil && len(raw) > 0
}

func hexKey(text string) (string, bool) {
	raw, err := hex.DecodeString(text)
	return base64.StdEncoding.EncodeToString(raw), err == nil && len(raw) > 0
}
