package hook_test

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestMaskURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://h.example/p":                  "https://h.example/p",
		"https://h.example/p?token=s3cr3t&b=x": "https://h.example/p?token=***&b=***",
		"https://h.example/p?s3cr3t":           "https://h.example/p?***",
		"https://h.example/p?":                 "https://h.example/p?",
		"https://h.example/p?a=s3cr3t=x&&b":    "https://h.example/p?a=***&&***",
		"https://u:s3cr3t@h.example/p":         "https://***@h.example/p",
		"https://u:s3@cr3t@h.example":          "https://***@h.example",
		"https://h.example/a@b":                "https://h.example/a@b",
		"https://h.example/#s3cr3t":            "https://h.example/#***",
		"":                                     "",
	} {
		if got := hook.MaskURL(raw); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

// FuzzMaskURL checks that no value of a query remains.
func FuzzMaskURL(f *testing.F) {
	f.Add("https://h.example/p?token=")
	f.Add("https://u:p@h.example#")
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.ContainsAny(raw, "?#") || strings.Contains(raw, "CANARY") {
			return
		}
		for _, tail := range []string{"?CANARY", "?a=CANARY", "?a=b&c=CANARY&d", "#CANARY", "?a#CANARY"} {
			if got := hook.MaskURL(raw + tail); strings.Contains(got, "CANARY") {
				t.Fatalf("%q: %q", raw+tail, got)
			}
		}
	})
}
