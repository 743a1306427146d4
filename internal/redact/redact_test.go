package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ text, pointers, want, found string }{
		{`{"card": "4111", "n": 1.00}`, "/card", `{"card": "***", "n": 1.00}`, "/card"},
		{`{"a":{"b":[1,{"c":2}]},"d":null}`, "/a/b/1/c /d", `{"a":{"b":[1,{"c":"***"}]},"d":"***"}`, "/a/b/1/c /d"},
		{`{"a":{"b":1}}`, "/a/b /a", `{"a":"***"}`, "/a"}, // the outer one covers the inner one
		{`{"a/b":1,"m~n":2,"":3}`, "/a~1b /m~0n /", `{"a/b":"***","m~n":"***","":"***"}`, "/a~1b /m~0n /"},
		{`{"a":[1,2]}`, "/a/01 /a/- /a/2 /a/-1", `{"a":[1,2]}`, ""},
		{`{"\u0061":"x"}`, "/a", `{"\u0061":"***"}`, "/a"},
		{"{\"a\" :\n[ 1 , {} ] }", "/a/1", "{\"a\" :\n[ 1 , \"***\" ] }", "/a/1"},
		{`{"a":"b"}`, "/a/b /x", `{"a":"b"}`, ""},
		{`{}`, "/a", `{}`, ""},
	} {
		r, err := Compile(strings.Fields(c.pointers))
		if err != nil {
			t.Fatal(err)
		}
		out, found, err := r.Text([]byte(c.text))
		if string(out) != c.want || strings.Join(found, " ") != c.found || err != nil {
			t.Errorf("%s by %s: %s, %v, %v", c.text, c.pointers, out, found, err)
		}
	}
	if out, found, err := (*Rules)(nil).Text([]byte("x")); string(out) != "x" || found != nil || err != nil {
		t.Errorf("no rules: %s", out)
	}
}

// What cannot be read is not shown at all.
func TestBrokenText(t *testing.T) {
	r, err := Compile([]string{"/a/b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", `{"a"`, `{"a":{"b":`, `{"a":{"b":1}`, `{"a":}`} {
		if out, _, err := r.Text([]byte(text)); err == nil || out != nil {
			t.Errorf("%q: %q", text, out)
		}
	}
}

func TestPointersThatAreRefused(t *testing.T) {
	many := make([]string, MaxPointers+1)
	for i := range many {
		many[i] = "/" + strconv.Itoa(i)
	}
	for says, pointers := range map[string][]string{
		"is empty": {""}, "begin with a slash": {"card"}, "#": {"#/card"}, "longer than": {"/" + strings.Repeat("a", maxBytes)},
		"more than 64 levels": {strings.Repeat("/a", 65)}, "~": {"/a~2"}, "~ ": {"/a~"}, "twice": {"/a", "/b", "/a"}, "UTF-8": {"/\xff"}, "too many": many,
	} {
		_, err := Compile(pointers)
		fault, ok := err.(*Fault)
		if !ok || fault.Index >= len(pointers) || says != "#" && !strings.Contains(err.Error(), strings.TrimSpace(says)) {
			t.Errorf("%.40q: %v", pointers, err)
		}
	}
	if _, err := Compile([]string{strings.Repeat("/a", 1000)}); err == nil {
		t.Error("1,000 levels are accepted")
	}
	if _, err := Compile(many[:MaxPointers]); err != nil {
		t.Error(err)
	}
}

// random returns a random value and the pointers to every value in it.
func random(r *rand.Rand, depth int, at string, into *[]string) any {
	*into = append(*into, at)
	switch n := r.IntN(6); {
	case n < 2 && depth > 0:
		m := map[string]any{}
		for range r.IntN(4) {
			name := []string{"a", "b/c", "d~e", "", "0", "ü", "x\"y"}[r.IntN(7)]
			if _, twice := m[name]; !twice {
				m[name] = random(r, depth-1, at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), into)
			}
		}
		return m
	case n == 2 && depth > 0:
		list := []any{}
		for i := range r.IntN(4) {
			list = append(list, random(r, depth-1, at+"/"+strconv.Itoa(i), into))
		}
		return list
	case n == 3:
		return strings.Repeat("secret", r.IntN(3))
	case n == 4:
		return json.Number(fmt.Sprintf("%d.%02d", r.IntN(1000), r.IntN(100)))
	}
	return nil
}

// mask replaces values as Text should, in a decoded value.
func mask(v any, at string, pointers []string) any {
	if slices.Contains(pointers, at) {
		return "***"
	}
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for name := range v {
			out[name] = mask(v[name], at+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), pointers)
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range v {
			out[i] = mask(v[i], at+"/"+strconv.Itoa(i), pointers)
		}
		return out
	}
	return v
}

// Of random texts and pointers, exactly the named values are replaced.
func TestRandomTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	masked := 0
	for range 2000 {
		var all, pointers []string
		value := map[string]any{"m": random(r, 5, "/m", &all), "n": random(r, 5, "/n", &all)}
		for range r.IntN(5) {
			if p := all[r.IntN(len(all))]; !slices.Contains(pointers, p) {
				pointers = append(pointers, p)
			}
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := Compile(pointers)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(text)
		out, found, err := rules.Text(text)
		if err != nil || !bytes.Equal(before, text) {
			t.Fatalf("%s: %v", before, err)
		}
		want, err := json.Marshal(mask(value, "", pointers))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, want) {
			t.Fatalf("%s by %q:\n%s, want\n%s", text, pointers, out, want)
		}
		masked += len(found)
	}
	if masked < 1000 {
		t.Errorf("only %d values were replaced", masked)
	}
}
