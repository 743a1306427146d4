package page

import (
	"fmt"
	"testing"
)

func ended(one *stream) bool {
	select {
	case why := <-one.end:
		return why == "limit"
	default:
		return false
	}
}

// Beyond the bound of all streams the oldest one ends. A session that has its ten ends one of
// its own, even then.
func TestStreamsAreBounded(t *testing.T) {
	var s Streams
	var all []*stream
	for i := range 200 {
		all = append(all, s.add(fmt.Sprint("session ", i/10), ""))
	}
	for _, one := range all {
		if ended(one) {
			t.Fatal("control: a stream ended within the bounds")
		}
	}
	s.add("session 19", "")
	if !ended(all[190]) || ended(all[0]) {
		t.Error("the eleventh stream of a session does not end the oldest of its own")
	}
	s.add("another", "")
	if !ended(all[0]) || ended(all[1]) || s.Len() != 200 {
		t.Errorf("%d streams are open, the bound is 200", s.Len())
	}
}

// A tenant with many sessions ends its own streams, not those of others.
func TestStreamsOfManySessionsEndTheirOwn(t *testing.T) {
	var s Streams
	quiet := s.add("quiet", "acme") // the oldest of all
	var greedy []*stream
	for i := range 250 {
		greedy = append(greedy, s.add(fmt.Sprint("session ", i), "nordlicht"))
	}
	if ended(quiet) || s.Len() != 200 {
		t.Errorf("%d streams are open", s.Len())
	}
	over := 0
	for _, one := range greedy {
		if ended(one) {
			over++
		}
	}
	if over != 51 { // the control
		t.Errorf("%d streams of the greedy tenant ended, want 51", over)
	}
	if s.add("late", "harbour"); ended(quiet) || !ended(greedy[51]) {
		t.Error("a third tenant ends a stream of the wrong one")
	}
}
