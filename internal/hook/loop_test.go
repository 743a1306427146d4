package hook_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

func TestLoopIn(t *testing.T) {
	const own = hook.Loop("0123456789abcdef")
	if v := own.Value(); v != "posthorn; id=0123456789abcdef" { // cdn-id *( OWS ";" OWS parameter ), RFC 8586 section 2
		t.Error(v)
	}
	for value, in := range map[string]bool{own.Value(): true, "a.example,posthorn;id=0123456789abcdef": true, `posthorn ; id="0123456789abcdef", b`: true,
		"": false, "posthorn": false, "posthorn; id=0123456789abcdee": false, "a.example": false} {
		if own.In([]string{"x", value}) != in || hook.Loop("").In([]string{value}) {
			t.Errorf("%q", value)
		}
	}
}
