package live

import (
	"fmt"
	"testing"
)

// Beyond the bound of the node the oldest stream ends. A session that has its ten ends one of
// its own, even then.
func TestStreamsOfANodeAreBounded(t *testing.T) {
	ended := func(one *Stream) bool {
		select {
		case why := <-one.End:
			return why == "limit"
		default:
			return false
		}
	}
	var s Streams
	var all []*Stream
	for i := range 200 {
		all = append(all, s.Add(fmt.Sprint("session ", i/10)))
	}
	for _, one := range all {
		if ended(one) {
			t.Fatal("control: a stream ended within the bounds")
		}
	}
	s.Add("session 19")
	if !ended(all[190]) || ended(all[0]) {
		t.Error("the eleventh stream of a session does not end the oldest of its own")
	}
	s.Add("another")
	if !ended(all[0]) || ended(all[1]) || len(s.open) != 200 {
		t.Errorf("%d streams are open, the bound is 200", len(s.open))
	}
}
