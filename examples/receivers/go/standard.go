package main

import (
	"encoding/json"
	"net/http"

	"github.com/posthorn/posthorn/webhook"
)

// standard is Standard Webhooks. The webhook-id is signed, and is the same in every attempt
// of one event.
var standard = format{webhook.Standard(), func(header http.Header, body []byte) (event, error) {
	var envelope struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	err := json.Unmarshal(body, &envelope)
	return event{envelope.Type, envelope.Data, []string{header.Get("webhook-id")}}, err
}}
