package main

import (
	"encoding/json"
	"net/http"

	"github.com/posthorn/posthorn/webhook"
)

// paysway is PaySway, in both spellings. The id in the body is the id of the event.
var paysway = format{webhook.PaySway(), func(_ http.Header, body []byte) (event, error) {
	var envelope struct {
		ID     string          `json:"id"`
		Type   string          `json:"eventType"`
		Object json.RawMessage `json:"object"`
	}
	err := json.Unmarshal(body, &envelope)
	return event{envelope.Type, envelope.Object, []string{envelope.ID}}, err
}}
