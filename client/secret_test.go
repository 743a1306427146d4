package client_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
)

// No verb and no log prints a client's key, whether the client stands alone or inside
// another value. The control is a struct with the same members.
func TestAClientKeepsItsKey(t *testing.T) {
	const key = "ph_live_operator_planted"
	c := client.Client{URL: "https://hooks.example.com", Key: key}
	around := struct{ C *client.Client }{&c}
	print := func(v any) string {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			log.WriteString(fmt.Sprintf(verb+"\n", v))
		}
		return log.String() + string(text)
	}
	for _, v := range []any{c, &c, []client.Client{c}} {
		if text := print(v); strings.Contains(text, key) || strings.Contains(text, hex.EncodeToString([]byte(key))) {
			t.Errorf("%T: %s", v, text)
		}
	}
	if text := fmt.Sprintf("%+v", around); strings.Contains(text, key) {
		t.Errorf("inside of a struct: %s", text)
	}
	type bare struct{ URL, Key string }
	if !strings.Contains(print(bare{c.URL, c.Key}), key) {
		t.Error("control: a struct shows its members")
	}
	c.URL = "https://u:password@hooks.example.com"
	if got := c.String(); got != "client of https://u:xxxxx@hooks.example.com" {
		t.Error(got)
	}
}
