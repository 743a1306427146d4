package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
)

// paywise is paywise. It has one header, X-Paywise-Signature: sha256=HEX, over the body
// alone. It signs neither the delivery id nor a time, so anyone who recorded a request could
// send it again under another id. The receiver therefore also remembers the digest of the
// body.
var paywise = format{
	key: func(secret string) ([]byte, error) {
		if len(secret) < 24 {
			return nil, errSecret
		}
		return []byte(secret), nil // not decoded
	},
	verify: func(header http.Header, body []byte, keys [][]byte) int {
		got := header.Get("X-Paywise-Signature")
		if got == "" || header.Get("X-Paywise-Delivery-ID") == "" {
			return http.StatusBadRequest
		}
		for _, key := range keys {
			if hmac.Equal([]byte(got), []byte("sha256="+hex.EncodeToString(sign(key, string(body))))) {
				return http.StatusOK
			}
		}
		return http.StatusUnauthorized
	},
	read: func(header http.Header, body []byte) (event, error) {
		var envelope struct {
			Event string          `json:"event"`
			Data  json.RawMessage `json:"data"`
		}
		err := json.Unmarshal(body, &envelope)
		digest := sha256.Sum256(body)
		return event{envelope.Event, envelope.Data, []string{
			header.Get("X-Paywise-Delivery-ID"), "body:" + hex.EncodeToString(digest[:]),
		}}, err
	},
}
