package main

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
)

// paysway is PaySway, in both spellings. It has one header, X-PaySway-Signature:
// t=SECONDS,v1=HEX. The id in the body is the id of the event.
var paysway = format{
	key: func(secret string) ([]byte, error) {
		key, err := base64.StdEncoding.DecodeString(secret)
		if err != nil || len(key) < 24 {
			return nil, errSecret
		}
		return key, nil
	},
	verify: func(header http.Header, body []byte, keys [][]byte) int {
		timestamp := ""
		var signatures []string // several during a rotation
		for pair := range strings.SplitSeq(header.Get("X-PaySway-Signature"), ",") {
			switch name, value, _ := strings.Cut(pair, "="); name {
			case "t":
				timestamp = value
			case "v1":
				signatures = append(signatures, value)
			}
		}
		if timestamp == "" || len(signatures) == 0 {
			return http.StatusBadRequest
		}
		for _, key := range keys {
			want := hex.EncodeToString(sign(key, timestamp, ".", string(body)))
			for _, got := range signatures {
				if hmac.Equal([]byte(got), []byte(want)) && fresh(timestamp) {
					return http.StatusOK
				}
			}
		}
		return http.StatusUnauthorized
	},
	read: func(_ http.Header, body []byte) (event, error) {
		var envelope struct {
			ID     string          `json:"id"`
			Type   string          `json:"eventType"`
			Object json.RawMessage `json:"object"`
		}
		err := json.Unmarshal(body, &envelope)
		return event{envelope.Type, envelope.Object, []string{envelope.ID}}, err
	},
}
