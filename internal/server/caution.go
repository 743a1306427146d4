package server

import (
	"math"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/exit"
)

// onCommandLine returns a warning for each secret on the command line, where every user of
// the machine can read it. It must be called before the flags are set from elsewhere.
func onCommandLine(f *pflag.FlagSet) []string {
	var warnings []string
	f.VisitAll(func(flag *pflag.Flag) { // of a set that a command took over, only Changed is kept
		if !flag.Changed || !exit.SecretFlags[flag.Name] || (flag.Name == "store" || flag.Name == "egress-proxy" || flag.Name == "smtp-url") && !hasPassword(flag.Value.String()) || flag.Value.String() == "" {
			return
		}
		warnings = append(warnings, "--"+flag.Name+" holds a secret, and every user of this machine can read the command line (ps); use "+
			envName(flag.Name)+"_FILE or "+envName(flag.Name))
	})
	return warnings
}

func hasPassword(store string) bool {
	u, err := url.Parse(store)
	if err != nil {
		return strings.Contains(store, "@") // it is rejected later; the warning still applies
	}
	_, given := u.User.Password()
	return given || u.Query().Has("password")
}

// longestPattern is the length of the longest text that a key may not consist of
// repeatedly, in characters.
const longestPattern = 16

// repeats reports whether a key is a repeated short text, such as an example in a guide, or
// one repeated character.
func repeats(key string) bool {
	for n := 1; n <= longestPattern && n <= len(key)/2; n++ {
		if key[n:] == key[:len(key)-n] {
			return true
		}
	}
	return false
}

// leastBits is the entropy that bitsOf finds in 32 random hexadecimal digits with a
// probability of more than 99.9 %.
const leastBits = 96

// bitsOf estimates the entropy of a key in bits from the frequency of its characters. It
// does not detect words.
func bitsOf(key string) float64 {
	counts := map[rune]int{}
	for _, r := range key {
		counts[r]++
	}
	bits := 0.0
	for _, n := range counts {
		bits -= float64(n) * math.Log2(float64(n)/float64(len(key)))
	}
	return bits
}

// easyKeys returns a warning for each operator key that is easy to guess.
func (c *Config) easyKeys() []string {
	var warnings []string
	for _, key := range []struct{ flag, text string }{{"operator-key", c.OperatorKey}, {"operator-test-key", c.OperatorTestKey}} {
		if key.text != "" && bitsOf(key.text) < leastBits {
			warnings = append(warnings, c.givenAs(key.flag)+": the key is easy to guess; generate one with: openssl rand -hex 32")
		}
	}
	return warnings
}
