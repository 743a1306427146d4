package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/posthorn/posthorn/webhook"
)

// paywise is paywise. It signs neither the delivery id nor a time, so anyone who recorded a
// request could send it again under another id. The receiver therefore also remembers the
// digest of the body.
var paywise = format{webhook.Paywise(), func(header http.Header, body []byte) (event, error) {
	var envelope struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	}
	err := json.Unmarshal(body, &envelope)
	digest := sha256.Sum256(body)
	return event{envelope.Event, envelope.Data, []string{
		header.Get("X-Paywise-Delivery-ID"), "body:" + hex.EncodeToString(digest[:]),
	}}, err
}}
