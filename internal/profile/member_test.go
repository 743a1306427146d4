package profile_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

// inHouse returns a profile that uses one value of the data in envelope, headers and signed
// content.
func inHouse(t testing.TB, name string) *profile.Profile {
	return load(t, replace(base, "envelope: raw\n", "envelope:\n  alone: '${"+name+"}'\n  text: 'no. ${"+name+"} \"of\" $tenant.id'\n  data: $event.data\n",
		`"{body}"`, `"{`+name+`}:{body}"`)+
		"headers: {X-Id: '${"+name+"}', X-Text: 'no. ${"+name+"}', X-Type: $event.type}\n")
}

// sent renders the request for an event with this data, and requires that it verifies.
func sent(t testing.TB, p *profile.Profile, data string) (body map[string]json.RawMessage, header http.Header) {
	t.Helper()
	in := input()
	in.Event.Data = []byte(data)
	text := p.Render(nil, in)
	if !jsontext.Value(text).IsValid() {
		t.Fatalf("%s renders to %s", data, text)
	}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	list, err := p.Headers(nil, in, text, signer(t, p, "any text will do"))
	if err != nil {
		t.Fatalf("%s cannot be sent: %v", data, err)
	}
	header = http.Header{}
	for _, h := range list {
		header.Add(h.Name, h.Value)
	}
	v, err := webhook.NewVerifier(p.Specs()[0], "any text will do")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(header, text); err != nil {
		t.Errorf("%s does not verify: %v", data, err)
	}
	return body, header
}

const missing = "\x00"

// The result for a value in each place. The data is valid for publishing.
func TestValuesOfTheData(t *testing.T) {
	long := strings.Repeat("x", 257)
	deep := strings.Repeat(`{"a":`, 63) + `1` + strings.Repeat("}", 63)
	for _, c := range []struct{ name, data, alone, text, header string }{
		{"event.data.invoice.id", `{"invoice":{"id":"in_1"}}`, `"in_1"`, "in_1", "in_1"},
		{"event.data./invoice/id", `{"invoice":{"id":"in_1"}}`, `"in_1"`, "in_1", "in_1"},
		{"event.data.id", ` { "x" : [1,{"id":2}], "id" : 7 , "y":"id" } `, `7`, "7", "7"},
		{"event.data.n", `{"n":12345678901234567890123456789.10}`, `12345678901234567890123456789.10`, "12345678901234567890123456789.10", "12345678901234567890123456789.10"},
		{"event.data.n", `{"n":-0.0E+99999}`, `-0.0E+99999`, "-0.0E+99999", "-0.0E+99999"},
		{"event.data.n", `{"n":true}`, `true`, "true", "true"},
		{"event.data.n", `{"n":""}`, `""`, "", ""},
		{"event.data.n", `{"n":null}`, "null", missing, missing},
		{"event.data.n", `{"n":{"n":1}}`, "null", missing, missing},
		{"event.data.n", `{"n":[1]}`, "null", missing, missing},
		{"event.data.n", `{}`, "null", missing, missing},
		{"event.data.n.x", `{"n":"x"}`, "null", missing, missing},
		{"event.data.lines.1.id", `{"lines":[{"id":"a,]"},{"id":"b"}]}`, `"b"`, "b", "b"},
		{"event.data.lines.2", `{"lines":[1,2]}`, "null", missing, missing},
		{"event.data.lines.01", `{"lines":[1,2]}`, "null", missing, missing},
		{"event.data./lines/-", `{"lines":[1,2]}`, "null", missing, missing},
		{"event.data.0", `{"0":"zero"}`, `"zero"`, "zero", "zero"},
		{"event.data./a~1b/m~0n", `{"a":1,"a/b":{"m":2,"m~n":"3"}}`, `"3"`, "3", "3"},
		{"event.data./m~01", `{"m/":1,"m~1":2}`, `2`, "2", "2"},
		{"event.data.a/b", `{"a/b":4}`, `4`, "4", "4"},
		{"event.data./a.b", `{"a":{"b":1},"a.b":2}`, `2`, "2", "2"},
		{"event.data./", `{"":5}`, `5`, "5", "5"},
		{"event.data.type", `{"type":"mine"}`, `"mine"`, "mine", "mine"},
		{"event.data.data", `{"data":{"data":1},"id":2}`, "null", missing, missing},
		{"event.data.null", `{"null":"a word"}`, `"a word"`, "a word", "a word"},
		{"event.data.invoice-id", `{"\u0069nvoice\u002did":"a\u0062\/"}`, `"a\u0062\/"`, "ab/", "ab/"},
		{"event.data.s", `{"s":"quote \" and \\ backslash"}`, `"quote \" and \\ backslash"`, `quote " and \ backslash`, `quote " and \ backslash`},
		{"event.data.s", `{"s":"é"}`, `"é"`, "é", missing},
		{"event.data.s", `{"s":"a\u0000b"}`, `"a\u0000b"`, "a\x00b", missing},
		{"event.data.s", `{"s":"a\r\nX-Evil: 1"}`, `"a\r\nX-Evil: 1"`, "a\r\nX-Evil: 1", missing},
		{"event.data.s", `{"s":" outer "}`, `" outer "`, " outer ", missing},
		{"event.data.s", `{"s":"` + long + `"}`, `"` + long + `"`, long, missing},
		{"event.data.s", `{"s":"` + strings.Repeat("x", 1023) + `"}`, "null", missing, missing},
		{"event.data.s", `{"s":"ends: here"}`, `"ends: here"`, "ends: here", missing}, // the colon ends it in the signed bytes
		{"event.data.a.a.a", deep, "null", missing, missing},
		{"event.data" + strings.Repeat(".a", 16), strings.Repeat(`{"a":`, 16) + `1` + strings.Repeat("}", 16), `1`, "1", "1"},
	} {
		body, header := sent(t, inHouse(t, c.name), c.data)
		if got := string(body["alone"]); got != c.alone {
			t.Errorf("%s of %.80s alone: %s, want %s", c.name, c.data, got, c.alone)
		}
		var text string
		if c.text == missing {
			if string(body["text"]) != "null" {
				t.Errorf("%s of %.80s in a text: %s, want null", c.name, c.data, body["text"])
			}
		} else if want := "no. " + c.text + ` "of" ` + input().Event.Scope.Tenant; json.Unmarshal(body["text"], &text) != nil || text != want {
			t.Errorf("%s of %.80s in a text: %s, want %q", c.name, c.data, body["text"], want)
		}
		id, there := header["X-Id"]
		if c.header == missing || c.header == "" {
			if there {
				t.Errorf("%s of %.80s as a header: %q, want none", c.name, c.data, id)
			}
		} else if len(id) != 1 || id[0] != c.header {
			t.Errorf("%s of %.80s as a header: %q, want %q", c.name, c.data, id, c.header)
		}
		if header.Get("X-Type") != "mandate.created" || header.Get("X-Evil") != "" {
			t.Errorf("%s of %.80s: headers %v", c.name, c.data, header)
		}
	}
}

// The control: without the check, the same text in a header becomes a header of its own for
// anyone who reads the request.
func TestHeadersCannotBeInjected(t *testing.T) {
	const value = "in_1\r\nX-Evil: 1"
	raw := "POST / HTTP/1.1\r\nHost: h\r\nX-Id: " + value + "\r\n\r\n"
	control, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil || control.Header.Get("X-Evil") != "1" {
		t.Fatalf("control: the attack would not have worked anyway: %v, %v", control, err)
	}
	p := inHouse(t, "event.data.id")
	for _, escaped := range []string{`in_1\r\nX-Evil: 1`, `in_1\nX-Evil: 1`, `in_1\rX-Evil: 1`, `in_1\u000d\u000aX-Evil: 1`, `in_1\u0085X-Evil: 1`, `in_1\u2028X-Evil: 1`, `in_1\u560d\u560aX-Evil: 1`} {
		_, header := sent(t, p, `{"id":"`+escaped+`"}`)
		for name, values := range header {
			if strings.Contains(strings.Join(values, ""), "Evil") || strings.Contains(name, "Evil") {
				t.Errorf("%s: %s: %q", escaped, name, values)
			}
		}
	}
}

// Bytes cannot move between a signed value and the text that follows it. A request whose
// value contains that text is refused. The control signs such a value by hand.
func TestSignedValuesKeepTheirBorders(t *testing.T) {
	p := load(t, replace(base, `"{body}"`, `"{event.data.id}.{body}"`)+"headers: {X-Id: $event.data.id}\n")
	in := input()
	in.Event.Data = []byte(`{"id":"a","note":"x.{}"}`)
	body := p.Render(nil, in)
	list, err := p.Headers(nil, in, body, signer(t, p, "any text will do"))
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for _, h := range list {
		header.Set(h.Name, h.Value)
	}
	v, err := webhook.NewVerifier(p.Specs()[0], "any text will do")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(header, body); err != nil {
		t.Fatal(err)
	}
	taken := header.Clone()
	taken.Del("X-Id")
	for name, h := range map[string]http.Header{"without its header": taken, "with another value": with(header, "X-Id", "b"), "with none": with(header, "X-Id", "")} {
		if err := v.Verify(h, body); !errors.Is(err, webhook.ErrNoMatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := header.Clone()
	twice.Add("X-Id", "a")
	if err := v.Verify(twice, body); !errors.Is(err, webhook.ErrMalformedHeader) {
		t.Errorf("with two: %v", err)
	}
	// A dot in the body could just as well be the one after the value.
	before, after, _ := strings.Cut(string(body), ".")
	if err := v.Verify(with(header, "X-Id", "a."+before), []byte(after)); !errors.Is(err, webhook.ErrMalformedHeader) {
		t.Errorf("shifted: %v", err)
	}
	control := hmac.New(sha256.New, []byte("any text will do"))
	control.Write([]byte("a." + before + "." + after))
	if want := "sha256=" + hex.EncodeToString(control.Sum(nil)); header.Get("X-Sig") != want {
		t.Errorf("control: the signed bytes would be others: %s, %s", header.Get("X-Sig"), want)
	}
}

func with(header http.Header, name, value string) http.Header {
	out := header.Clone()
	out.Set(name, value)
	return out
}

// Invalid templates are refused with the member and the rule.
func TestBadValuesOfTheData(t *testing.T) {
	for _, c := range []struct{ old, new, reason string }{
		{"envelope: raw", "envelope: {id: $event.data..id}", "envelope.id: $event.data..id has an empty part"},
		{"envelope: raw", "envelope: {id: '${event.data.}'}", "envelope.id: $event.data. has an empty part"},
		{"envelope: raw", "envelope: {id: '${event.data./a~2}'}", "envelope.id: $event.data./a~2 has a ~ without 0 or 1"},
		{"envelope: raw", "envelope: {id: '${event.data./a~}'}", "has a ~ without"},
		{"envelope: raw", "envelope: {id: $event.data./a/b}", "envelope.id: write a JSON pointer in braces"},
		{"envelope: raw", "envelope: {id: '${event.data." + strings.Repeat("a", 257) + "}'}", "is longer than 256 bytes"},
		{"envelope: raw", "envelope: {id: $event.data" + strings.Repeat(".a", 17) + "}", "goes more than 16 levels deep"},
		{"envelope: raw", "envelope: {id: \"${event.data.a\\nb}\"}", "control character"},
		{"envelope: raw", "envelope: {id: '${event.data[0].id}'}", "unknown variable $event.data[0].id"},
		{"envelope: raw", "envelope: {'...': $event.data.invoice}", "only $event.data can be spread"},
		{"envelope: raw", "envelope: [" + strings.TrimSuffix(strings.Repeat("$event.data.a, ", 33), ", ") + "]", "must be a mapping"},
		{"envelope: raw", "envelope: {a: [" + strings.TrimSuffix(strings.Repeat("$event.data.a, ", 33), ", ") + "]}", "more than the 32 values"},
		{"success", "headers: {X-Id: $event.data..id}\nsuccess", "headers.X-Id: $event.data..id has an empty part"},
		{"success", "headers: {X-Id: '" + strings.Repeat("$event.data.a ", 33) + "$mode'}\nsuccess", "headers.X-Id: is more than the 32 values"},
		{`"{body}"`, `"{event.data.id}.{body}"`, "signature[0].signed: {event.data.id} is signed, so receivers need it"},
		{`"{body}"`, `"{event.data..id}.{body}"`, "signature[0].signed: {event.data..id} has an empty part"},
		{`"{body}"`, `"$event.data.id.{body}"`, "written in braces"},
		{`"{body}"`, `"{header:X-Id}.{body}"`, "written in braces"},
		{`"{body}"`, `"{event.data.id.{body}"`, "is signed, so receivers need it"},
		{`output: "`, `output: "{event.data.id}`, "signature[0].output: {event.data...} belongs into signed"},
	} {
		_, err := profile.Load("bad.yaml", []byte(replace(base, c.old, c.new)))
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%.100s: %v, want %q", c.new, err, c.reason)
		}
	}
	carried := base + "headers: {X-Id: $event.data.id}\n"
	for _, c := range []struct{ signed, reason string }{
		{"{event.data.id}{body}", "separator"},
		{"{event.data.id}-{body}", "separator"},
		{"{body}.{event.data.id}", "comes after"},
		{strings.Repeat("{event.data.id}.", 9) + "{body}", "at most 8"},
	} {
		if _, err := profile.Load("bad.yaml", []byte(replace(carried, `"{body}"`, `"`+c.signed+`"`))); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %q", c.signed, err, c.reason)
		}
	}
}

func TestWarningsOfAProfile(t *testing.T) {
	p := load(t, replace(base, "type: webhook.test", "type: webhook/test", "envelope: raw", "envelope: {id: $event.data.id, test: $event.data.test}")+
		"headers: {X-Id: $event.data.id, X-Test: $event.data.test}\n")
	got := strings.Join(p.Words().Warnings, "\n")
	for _, want := range []string{"webhook/test", "value at /id: it goes out without the header X-Id", "value at /id: its body has null"} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %q in %s", want, got)
		}
	}
	if n := len(p.Words().Warnings); n != 3 {
		t.Errorf("%d warnings: %s", n, got)
	}
	for _, name := range profile.Builtin().Names() { // the control
		if list := builtin(t, name).Words().Warnings; len(list) != 0 {
			t.Errorf("%s: %v", name, list)
		}
	}
	if diff := strings.Join(p.HeaderNames(), ","); diff != "Content-Type,User-Agent,X-Id,X-Test,X-Sig" {
		t.Errorf("names of headers: %s", diff)
	}
}

// oracle finds a value the slow way: it decodes the data and follows the path step by step.
func oracle(data []byte, steps []string) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return nil, false
	}
	for _, step := range steps {
		switch in := value.(type) {
		case map[string]any:
			next, ok := in[step]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(in) || strconv.Itoa(i) != step {
				return nil, false
			}
			value = in[i]
		default:
			return nil, false
		}
	}
	switch value.(type) {
	case string, bool, json.Number:
		return value, true
	}
	return nil, false
}

// For any strict object, the envelope contains the value that a decoder finds.
func TestValuesAgreeWithADecoder(t *testing.T) {
	names := []string{"a", "b", "0", "1", "a/b", "~", `q"\`, ""}
	pointers := [][]string{{"a"}, {"b", "0"}, {"a", "b"}, {"0", "1"}, {"a/b", "~"}, {`q"\`}, {"", "a"}, {"a", "1", "b"}}
	var fields strings.Builder
	for i, steps := range pointers {
		pointer := ""
		for _, s := range steps {
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
		}
		fmt.Fprintf(&fields, "  p%d: '${event.data.%s}'\n", i, pointer)
	}
	p := load(t, replace(base, "envelope: raw\n", "envelope:\n"+fields.String()))
	var value func(depth int) *rapid.Generator[string]
	value = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			kind := rapid.IntRange(0, 5).Draw(t, "kind")
			if depth > 3 && kind < 3 {
				kind += 3
			}
			space := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "space")
			var list []string
			switch kind {
			case 0, 1:
				for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(t, "names") {
					quoted, _ := json.Marshal(name)
					if rapid.Bool().Draw(t, "escaped") && name != "" {
						quoted = fmt.Appendf(nil, `"\u%04x%s"`, name[0], strings.Trim(string(must(json.Marshal(name[1:]))), `"`))
					}
					if !jsontext.Value(quoted).IsValid() {
						quoted, _ = json.Marshal(name)
					}
					list = append(list, space+string(quoted)+space+":"+space+value(depth+1).Draw(t, "value")+space)
				}
				return "{" + space + strings.Join(list, ",") + "}"
			case 2:
				for range rapid.IntRange(0, 3).Draw(t, "elements") {
					list = append(list, space+value(depth+1).Draw(t, "element")+space)
				}
				return "[" + space + strings.Join(list, ",") + "]"
			case 3:
				return string(must(json.Marshal(rapid.SampledFrom([]string{"", "x", `,"a":1}`, `\`, `]"`, "é\n"}).Draw(t, "text"))))
			}
			return rapid.SampledFrom([]string{"null", "true", "false", "0", "-1.50e9", "123456789012345678901234567890"}).Draw(t, "word")
		})
	}
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		data := `{"a":` + value(0).Draw(t, "a") + `, "b": ` + value(0).Draw(t, "b") + `,"a\u002fb":` + value(0).Draw(t, "a/b") + "}"
		in := input()
		in.Event.Data = []byte(data)
		var body map[string]any
		d := json.NewDecoder(bytes.NewReader(p.Render(nil, in)))
		d.UseNumber()
		if err := d.Decode(&body); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for i, steps := range pointers {
			want, ok := oracle(in.Event.Data, steps)
			if got := body["p"+strconv.Itoa(i)]; ok && got != want || !ok && got != nil {
				t.Fatalf("%q of %s: %v, want %v", steps, data, got, want)
			}
			if ok {
				found++
			}
		}
	})
	if found == 0 {
		t.Error("no pointer of any draw led to a value")
	}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

func BenchmarkValuesOfTheData(b *testing.B) {
	p := inHouse(b, "event.data.lines.13.v")
	s := signer(b, p, "any text will do")
	in := benchmarkInput(false)
	body, headers := make([]byte, 0, 4096), make([]hook.Header, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		body = p.Render(body[:0], in)
		if _, err := p.Headers(headers, in, body, s); err != nil {
			b.Fatal(err)
		}
	}
}
