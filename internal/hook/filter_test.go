package hook_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn/internal/hook"
)

// oracleMatch is the rule in its simplest form: it splits into parts and separators and
// compares them one by one.
func oracleMatch(entry, name string) bool {
	if entry == "*" || entry == name {
		return true
	}
	split := func(text string) (pieces []string) { // parts and separators, in order
		from := 0
		for i, r := range text {
			if strings.ContainsRune("./:", r) {
				pieces = append(pieces, text[from:i], string(r))
				from = i + 1
			}
		}
		return append(pieces, text[from:])
	}
	want, got := split(entry), split(name)
	if n := len(want); n < 3 || want[n-1] != "*" || len(got) < n {
		return false
	}
	for i := range len(want) - 1 {
		if want[i] != got[i] {
			return false
		}
	}
	for _, piece := range got[len(want):] {
		if strings.ContainsAny(piece, "./:") && piece != want[len(want)-2] {
			return false
		}
	}
	return true
}

func oracleValid(name string) bool {
	if len(name) > 128 {
		return false
	}
	for _, part := range strings.Split(strings.NewReplacer(":", ".", "/", ".").Replace(name), ".") {
		if part == "" {
			return false
		}
		for _, r := range part {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r) {
				return false
			}
		}
	}
	return true
}

func TestMatchAgreesWithTheRuleInTheDocs(t *testing.T) {
	// Few letters, so that names often match entries.
	name := rapid.StringMatching(`[ab](([./:])[ab]){0,4}`)
	entry := rapid.OneOf(name, rapid.StringMatching(`[ab](([./:])[ab]){0,3}[./:]\*`), rapid.Just("*"))
	matched, missed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		e, n := entry.Draw(t, "entry"), name.Draw(t, "name")
		if cut := strings.IndexAny(n, "./:"); cut > 0 && rapid.Bool().Draw(t, "related") {
			e = n[:cut+1] + "*"
			if last := strings.LastIndexAny(n, "./:"); rapid.Bool().Draw(t, "long") {
				e = n[:last+1] + "*"
			}
		}
		if !hook.ValidType(n) || !hook.ValidFilterType(e) {
			t.Fatalf("%q or %q is refused", n, e)
		}
		got := hook.Filter{"zz", e}.Match(n)
		if got != oracleMatch(e, n) {
			t.Fatalf("%q against %q: %v", e, n, got)
		}
		if got && e != "*" && e != n {
			matched++
		} else if !got {
			missed++
		}
	})
	if matched == 0 || missed == 0 {
		t.Errorf("the draw holds %d names that a wildcard took and %d that nothing took", matched, missed)
	}
}

// Filters from before colons and slashes were allowed match the same types of that time.
func TestDottedFiltersMeanWhatTheyMeant(t *testing.T) {
	name := rapid.StringMatching(`[ab](\.[ab]){0,4}`)
	entry := rapid.OneOf(name, rapid.StringMatching(`[ab](\.[ab]){0,2}\.\*`), rapid.Just("*"))
	rapid.Check(t, func(t *rapid.T) {
		e, n := entry.Draw(t, "entry"), name.Draw(t, "name")
		prefix, wild := strings.CutSuffix(e, "*")
		if want := e == n || wild && strings.HasPrefix(n, prefix); hook.Filter([]string{e}).Match(n) != want {
			t.Fatalf("%q against %q: %v", e, n, !want)
		}
	})
}

func TestValidTypeAgreesWithTheRuleInTheDocs(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching(`[aZ0_\-./: *]{0,6}`), rapid.StringMatching(`[a./:]{124,132}`), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		name := text.Draw(t, "name")
		if valid := oracleValid(name); hook.ValidType(name) != valid || (hook.TypeFault(name) == "") != valid {
			t.Fatalf("%q: %v, %q", name, hook.ValidType(name), hook.TypeFault(name))
		}
	})
}

func BenchmarkFilterMatch(b *testing.B) {
	exact, prefixes := hook.Filter{}, hook.Filter{}
	for i := range 250 {
		exact = append(exact, fmt.Sprintf("payment.settled.%d", i))
		prefixes = append(prefixes, fmt.Sprintf("payment.settled%d.*", i))
	}
	for _, c := range []struct {
		name   string
		filter hook.Filter
		typ    string
		want   bool
	}{
		{"all", hook.Filter{"*"}, "payment.settled.today", true},
		{"three exact", hook.Filter{"mandate.created", "payment.failed", "payment.settled"}, "payment.settled", true},
		{"prefix", hook.Filter{"mandate.*", "payment.*"}, "payment.settled.today", true},
		{"no prefix", hook.Filter{"mandate.*", "recipient.*", "account.*"}, "payment.settled.today", false},
		{"250 exact missed", exact, "payment.settled.today", false},
		{"250 prefixes missed", prefixes, "payment.settled.today", false},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if c.filter.Match(c.typ) != c.want {
					b.Fatal("wrong")
				}
			}
		})
	}
	b.Run("valid", func(b *testing.B) {
		for b.Loop() {
			if !hook.ValidType("payment.settled.today") {
				b.Fatal("wrong")
			}
		}
	})
}
