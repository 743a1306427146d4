package app_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

func TestKeyTexts(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		text := app.NewKeyText(hook.Test, hook.Publisher)
		if !strings.HasPrefix(text, "ph_test_publisher_") || len(text) != len("ph_test_publisher_")+43+6 || !app.CheckKeyText(text) || seen[text] {
			t.Fatalf("%q", text)
		}
		seen[text] = true
		for i := 3; i < len(text); i += 5 {
			wrong := text[:i] + string(text[i]^1) + text[i+1:]
			if app.CheckKeyText(wrong) {
				t.Fatalf("%q passed for %q", wrong, text)
			}
		}
	}
	for _, text := range []string{"", "ph_", "ph_x", "sk_live_x", strings.Repeat("a", 70)} {
		if app.CheckKeyText(text) {
			t.Errorf("%q passed", text)
		}
	}
}

// empty is a store without keys; its other methods panic.
type empty struct {
	app.Store
	asked *int
}

func (e empty) KeyByHash(context.Context, [32]byte) (hook.Key, error) {
	*e.asked++
	return hook.Key{}, hook.NotFound("key")
}

func options(asked *int) app.Options {
	return app.Options{Store: empty{asked: asked}, Profiles: profile.Builtin(),
		Admit:        func(context.Context, string, bool) (string, []app.Warning, error) { return "", nil, nil },
		CheckHeaders: func([]hook.Header) error { return nil }}
}

func TestAuthenticate(t *testing.T) {
	asked := 0
	o := options(&asked)
	o.OperatorKey, o.OperatorTestKey = strings.Repeat("l", 32), strings.Repeat("t", 200)
	s, err := app.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for text, mode := range map[string]hook.Mode{o.OperatorKey: hook.Live, o.OperatorTestKey: hook.Test} {
		if c, err := s.Authenticate(t.Context(), text, netip.Addr{}); err != nil || c != (app.Caller{Kind: hook.Operator, Mode: mode}) {
			t.Errorf("%v %v", c, err)
		}
	}
	for _, text := range []string{"", "ph_live_operator_x", o.OperatorKey + "l", strings.Repeat("x", 10_000)} {
		if _, err := s.Authenticate(t.Context(), text, netip.Addr{}); hook.CodeOf(err) != hook.CodeUnauthorized {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if asked != 0 {
		t.Errorf("the store was asked %d times for texts that cannot be keys", asked)
	}
	if _, err := s.Authenticate(t.Context(), app.NewKeyText(hook.Live, hook.Operator), netip.Addr{}); hook.CodeOf(err) != hook.CodeUnauthorized || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	asked := 0
	if _, err := app.New(options(&asked)); err != nil { // control
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*app.Options){
		"no store":        func(o *app.Options) { o.Store = nil },
		"no profiles":     func(o *app.Options) { o.Profiles = nil },
		"unknown profile": func(o *app.Options) { o.Profile = "nope" },
		"short key":       func(o *app.Options) { o.OperatorKey = strings.Repeat("k", 31) },
		"long key":        func(o *app.Options) { o.OperatorKey = strings.Repeat("k", 201) },
		"key with space":  func(o *app.Options) { o.OperatorKey = strings.Repeat("k ", 20) },
		"equal keys":      func(o *app.Options) { o.OperatorKey = strings.Repeat("k", 40); o.OperatorTestKey = o.OperatorKey },
	} {
		o := options(&asked)
		spoil(&o)
		if _, err := app.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
