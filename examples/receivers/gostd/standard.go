package main

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// standard is Standard Webhooks, with the headers webhook-id, webhook-timestamp and
// webhook-signature. The id is signed, and is the same in every attempt of one event.
var standard = format{
	key: func(secret string) ([]byte, error) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) < 24 {
			return nil, errSecret
		}
		return key, nil
	},
	verify: func(header http.Header, body []byte, keys [][]byte) int {
		id, timestamp, signatures := header.Get("webhook-id"), header.Get("webhook-timestamp"), header.Get("webhook-signature")
		if id == "" || timestamp == "" || signatures == "" {
			return http.StatusBadRequest
		}
		for _, key := range keys {
			want := "v1," + base64.StdEncoding.EncodeToString(sign(key, id, ".", timestamp, ".", string(body)))
			// During a rotation there are several signatures, separated by spaces.
			for got := range strings.SplitSeq(signatures, " ") {
				if hmac.Equal([]byte(got), []byte(want)) && fresh(timestamp) {
					return http.StatusOK
				}
			}
		}
		return http.StatusUnauthorized
	},
	read: func(header http.Header, body []byte) (event, error) {
		var envelope struct {
			Type string          `json:"type"`
			Data json.RawMessage `json:"data"`
		}
		err := json.Unmarshal(body, &envelope)
		return event{envelope.Type, envelope.Data, []string{header.Get("webhook-id")}}, err
	},
}
