package listen_test

import (
	"log/slog"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/listen"
)

// place is a shelf from the view of one of several processes.
type place struct {
	*shelf
	epoch int64
	nodes int
}

func (p *place) Epoch() int64 { return p.epoch }
func (p *place) Nodes() int   { return p.nodes }

// An answer that reaches another node is refused with the reason, and the right node still
// accepts it. Control: for a single process, no attempt waits for the token of an earlier
// process.
func TestAnswerAtAnotherNode(t *testing.T) {
	for _, nodes := range []int{1, 2} {
		store, _, e := setup()
		here := listen.New(&place{store, 35, nodes}, slog.New(slog.DiscardHandler))
		there := listen.New(&place{store, 36, nodes}, slog.New(slog.DiscardHandler))
		parcel, done := forward(t, here, e, attach(t, here, e))
		want := hook.CodeWrongNode
		if nodes == 1 {
			want = hook.CodeNotFound
		}
		if err := there.Answer(acme, parcel.Token, listen.Answer{Status: 200}); hook.CodeOf(err) != want {
			t.Errorf("of %d nodes the other says %v, want %s", nodes, err, want)
		}
		if err := here.Answer(acme, parcel.Token+"x", listen.Answer{Status: 200}); hook.CodeOf(err) != hook.CodeNotFound {
			t.Errorf("a token that nobody has: %v", err)
		}
		if err := here.Answer(acme, parcel.Token, listen.Answer{Status: 200}); err != nil {
			t.Error(err)
		}
		if r := <-done; r.err != nil || r.response.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
}
