package adapter_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// A handler that panics produces an error like any other; one that aborts still aborts.
func TestServeTurnsPanicsIntoErrors(t *testing.T) {
	run := func(do adapter.Handler) (got error, header http.Header) {
		w := httptest.NewRecorder()
		adapter.Serve(w, httptest.NewRequest("GET", "/", nil), do, func(_ http.ResponseWriter, _ *http.Request, err error) { got = err })
		return got, w.Header()
	}
	if err, h := run(func(http.ResponseWriter, *http.Request) error { panic("boom") }); err == nil || hook.CodeOf(err) != hook.CodeInternal ||
		h.Get(adapter.RequestIDHeader) == "" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %v", err, h)
	}
	refused := errors.New("refused")
	if err, _ := run(func(http.ResponseWriter, *http.Request) error { return refused }); err != refused {
		t.Error(err)
	}
	if err, _ := run(func(http.ResponseWriter, *http.Request) error { return nil }); err != nil {
		t.Error(err)
	}
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the abort was swallowed")
		}
	}()
	_, _ = run(func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
}

func TestBearer(t *testing.T) {
	for _, c := range []struct {
		headers []string
		text    string
		given   bool
	}{{nil, "", false}, {[]string{"Bearer x"}, "x", true}, {[]string{"bearer x y"}, "x y", true}, {[]string{"Bearer "}, "", true},
		{[]string{"Bearer"}, "", true}, {[]string{"Basic eA=="}, "", true}, {[]string{"Bearer x", "Bearer y"}, "", true}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = c.headers
		if text, given := adapter.Bearer(r); text != c.text || given != c.given {
			t.Errorf("%q: %q %v", c.headers, text, given)
		}
	}
}

func TestBody(t *testing.T) {
	for name, c := range map[string]struct {
		body, kind, coding string
		code               hook.Code
	}{
		"good": {"{}", "application/json; charset=utf-8", "", ""}, "identity": {"{}", "application/json", "identity", ""},
		"empty": {"", "", "", ""}, "largest": {strings.Repeat(" ", adapter.MaxBody), "application/json", "", ""},
		"too large": {strings.Repeat(" ", adapter.MaxBody+1), "application/json", "", hook.CodeTooLarge},
		"other":     {"{}", "text/json", "", hook.CodeContentType}, "none": {"{}", "", "", hook.CodeContentType},
		"packed": {"{}", "application/json", "gzip", hook.CodeContentEncoding},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		r.Header.Set("Content-Encoding", c.coding)
		got, err := adapter.Body(r, app.Caller{}, "application/json")
		if c.code == "" && (err != nil || string(got) != c.body) || c.code != "" && (err == nil || hook.CodeOf(err) != c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMembers(t *testing.T) {
	m, err := adapter.ReadMembers([]byte(`{"a":"x","b":["y",1],"c":null,"d":7,"e":0,"f":0}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := adapter.Take[string](m, "a", "a string"); got == nil || *got != "x" || m.Has("a") {
		t.Error("a member was not handed out")
	}
	if adapter.Take[[]string](m, "b", "texts") != nil || adapter.Take[bool](m, "c", "a flag") != nil || adapter.Take[string](m, "z", "a string") != nil {
		t.Error("something wrong or absent was handed out")
	}
	if got := adapter.Take[int](m, "d", "a number"); got == nil || *got != 7 {
		t.Error("a number was not handed out")
	}
	m.Refuse("cannot be written.", "e")
	var fields []string
	for _, e := range m.Wrong() {
		fields = append(fields, e.Field+" "+string(e.Code))
	}
	if got := strings.Join(fields, ", "); got != "b/1 invalid_request, c invalid_request, e invalid_request, f unknown_field" {
		t.Error(got)
	}
	for text, code := range map[string]hook.Code{"": hook.CodeInvalidJSON, "{": hook.CodeInvalidJSON, `{"a":1,"a":2}`: hook.CodeInvalidJSON,
		"null": hook.CodeInvalidRequest, "[]": hook.CodeInvalidRequest} {
		if _, err := adapter.ReadMembers([]byte(text)); err == nil || hook.CodeOf(err) != code {
			t.Errorf("%q: %v", text, err)
		}
	}
}
