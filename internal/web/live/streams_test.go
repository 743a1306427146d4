package live

import (
	"fmt"
	"testing"
)

func ended(one *Stream) bool {
	select {
	case why := <-one.End:
		return why == "limit"
	default:
		return false
	}
}

// Beyond the bound of the node the oldest stream ends. A session that has its ten ends one of
// its own, even then.
func TestStreamsOfANodeAreBounded(t *testing.T) {
	var s Streams
	var all []*Stream
	for i := range 200 {
		all = append(all, s.Add(fmt.Sprint("session ", i/10), ""))
	}
	for _, one := range all {
		if ended(one) {
			t.Fatal("control: a stream ended within the bounds")
		}
	}
	s.Add("session 19", "")
	if !ended(all[190]) || ended(all[0]) {
		t.Error("the eleventh stream of a session does not end the oldest of its own")
	}
	s.Add("another", "")
	if !ended(all[0]) || ended(all[1]) || len(s.open) != 200 {
		t.Errorf("%d streams are open, the bound is 200", len(s.open))
	}
}

// A holder with many sessions ends its own streams, not those of others.
func TestStreamsOfManySessionsEndTheirOwn(t *testing.T) {
	var s Streams
	quiet := s.Add("quiet", "acme") // the oldest of all
	var greedy []*Stream
	for i := range 250 {
		greedy = append(greedy, s.Add(fmt.Sprint("session ", i), "nordlicht"))
	}
	over := 0
	for _, one := range greedy {
		if ended(one) {
			over++
		}
	}
	if ended(quiet) || s.Len() != MaxStreams || over != 251-MaxStreams { // the last is the control
		t.Errorf("%d streams are open, %d of the greedy holder ended", s.Len(), over)
	}
	if s.Add("late", "harbour"); ended(quiet) || !ended(greedy[over]) {
		t.Error("a third holder ends a stream of the wrong one")
	}
}
