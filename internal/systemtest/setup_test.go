package systemtest

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

const exampleDir = "../../examples/profiles"

// live is a node with a receiver.
type live struct{ *servertest.Live }

func startLive(t *testing.T, args ...string) *live {
	t.Helper()
	return &live{servertest.Start(t, args...)}
}

func (l *live) tenantKey() client.Key {
	l.T.Helper()
	k, err := l.API.CreateKey(l.T.Context(), client.NewKey{Kind: "tenant", Tenant: "acme"})
	if err != nil {
		l.T.Fatal(err)
	}
	return k
}

// member returns the text of one member of a flat JSON object.
func member(text, name string) string {
	_, after, _ := strings.Cut(text, `"`+name+`":"`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}
