package profile_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// A profile that asks for it sends the attempt's trace context. Control: others do not.
func TestTraceParent(t *testing.T) {
	traced := load(t, base+"headers:\n  traceparent: $trace.parent\n")
	for _, sampled := range []bool{false, true} {
		in := input()
		in.Sampled = sampled
		got := map[string]string{}
		list, err := traced.Headers(nil, in, nil, signer(t, traced, "a-secret-of-24-characters"))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range list {
			got[h.Name] = h.Value
		}
		if want := string(hook.AppendTraceParent(nil, in.Event.ID, in.Delivery, in.Attempt, sampled)); got["traceparent"] != want || len(want) != 55 {
			t.Errorf("%q, want %q", got["traceparent"], want)
		}
		in.Attempt++
		if next := string(hook.AppendTraceParent(nil, in.Event.ID, in.Delivery, in.Attempt, sampled)); next == got["traceparent"] {
			t.Error("two attempts have one span")
		}
	}
	plain := load(t, base)
	list, err := plain.Headers(nil, input(), nil, signer(t, plain, "a-secret-of-24-characters"))
	for _, h := range list {
		if h.Name == "traceparent" || err != nil {
			t.Errorf("sent without being asked for: %v, %v", list, err)
		}
	}
}
