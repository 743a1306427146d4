package diagnose

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
)

// exchange is one HAR entry, or an object that has headers and body itself, in the format of
// serverless platforms and request bins.
type exchange struct {
	Request  *exchange       `json:"request"`
	Headers  json.RawMessage `json:"headers"`
	PostData *struct {
		Text     string `json:"text"`
		Encoding string `json:"encoding"`
	} `json:"postData"`
	Body   json.RawMessage `json:"body"`
	Base64 bool            `json:"isBase64Encoded"`
}

func readJSON(text []byte, entry int) (Capture, error) {
	var file struct {
		exchange
		Log *struct {
			Entries []exchange `json:"entries"`
		} `json:"log"`
	}
	var err error
	all := []exchange{}
	if text[0] == '[' {
		err = json.Unmarshal(text, &all)
	} else if err = json.Unmarshal(text, &file); err == nil && file.Log != nil {
		all = file.Log.Entries
	} else if err == nil {
		all = append(all, file.exchange)
	}
	if err != nil {
		return Capture{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if entry < 0 || entry > len(all) || len(all) == 0 {
		return Capture{}, fmt.Errorf("the capture has %d entries, not number %d", len(all), entry)
	}
	if entry == 0 {
		entry = 1
		for i := range all {
			if all[i].hasBody() {
				entry = i + 1
				break
			}
		}
	}
	return all[entry-1].capture()
}

func (x *exchange) hasBody() bool {
	if x.Request != nil {
		return x.Request.hasBody()
	}
	return x.PostData != nil || len(x.Body) > 0
}

func (x *exchange) capture() (Capture, error) {
	if x.Request != nil {
		return x.Request.capture()
	}
	headers, err := readHeaders(x.Headers)
	if err != nil {
		return Capture{}, err
	}
	c := Capture{Headers: headers}
	switch {
	case x.PostData != nil && x.PostData.Encoding == "base64":
		c.Body, err = base64.StdEncoding.DecodeString(x.PostData.Text)
	case x.PostData != nil:
		c.Body = []byte(x.PostData.Text)
	case len(x.Body) > 0 && x.Body[0] == '"':
		var body string
		if err = json.Unmarshal(x.Body, &body); err == nil && x.Base64 {
			c.Body, err = base64.StdEncoding.DecodeString(body)
		} else {
			c.Body = []byte(body)
		}
	case !bytes.Equal(x.Body, []byte("null")):
		c.Body = x.Body // already parsed by the recorder; the original bytes are lost
	}
	if err != nil {
		return Capture{}, fmt.Errorf("%w: the body: %w", ErrUnknown, err)
	}
	return c, nil
}

// readHeaders accepts a list of {name, value}, or an object of texts or lists.
func readHeaders(text json.RawMessage) ([]hook.Header, error) {
	var list []struct{ Name, Value string }
	if json.Unmarshal(text, &list) == nil && len(list) > 0 {
		var headers []hook.Header
		for _, h := range list {
			if headerToken.MatchString(h.Name) {
				headers = append(headers, hook.Header{Name: h.Name, Value: h.Value})
			}
		}
		return headers, nil
	}
	members, err := scanMembers(text)
	if err != nil || len(members) == 0 {
		return nil, fmt.Errorf("%w: it holds no headers", ErrUnknown)
	}
	var headers []hook.Header
	for _, m := range members {
		var values []string
		if json.Unmarshal(m.value, &values) != nil {
			var one string
			if json.Unmarshal(m.value, &one) != nil {
				continue
			}
			values = []string{one}
		}
		for _, value := range values {
			headers = append(headers, hook.Header{Name: m.name, Value: value})
		}
	}
	return headers, nil
}

// rawMember is one member of a JSON object, in its original position.
type rawMember struct {
	name  string
	value json.RawMessage
}

// scanMembers reads the members of an object in order. A map would lose the order and
// repeated headers.
func scanMembers(text []byte) ([]rawMember, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, ErrUnknown
	}
	var members []rawMember
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := rawMember{}
		m.name, _ = t.(string)
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}
