package egresstest

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

//go:embed testdata/attack_urls.txt
var corpus string

// Attack is a URL that must not be delivered to.
type Attack struct {
	URL string
	// Want is the code with which storing the URL is refused if http and hosts that are
	// IP addresses are admitted. For a URL that may be stored, it is the class of the
	// failed attempt.
	Want string
}

// Attacks returns the corpus with the placeholder {PORT} replaced by the port of a
// listener that must receive nothing. [AttackResolver] resolves its names. Attacks panics
// if the embedded file is invalid.
func Attacks(port int) []Attack {
	var out []Attack
	for number, line := range strings.Split(corpus, "\n") {
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		text, want, ok := strings.Cut(line, "\t")
		raw, err := strconv.Unquote(`"` + text + `"`)
		if !ok || err != nil {
			panic(fmt.Sprintf("attack_urls.txt:%d: not a URL, a tab and a code", number+1))
		}
		raw = strings.ReplaceAll(raw, "{LONG}", strings.Repeat("a", 2048))
		out = append(out, Attack{URL: strings.ReplaceAll(raw, "{PORT}", strconv.Itoa(port)), Want: want})
	}
	return out
}

// AttackURLs returns the URLs of [Attacks].
func AttackURLs(port int) []string {
	var out []string
	for _, a := range Attacks(port) {
		out = append(out, a.URL)
	}
	return out
}

// AttackResolver returns a resolver for the names of the corpus. The name
// rebind.attack.test resolves to loopback from the second query on.
func AttackResolver() *Resolver {
	const public = "93.184.215.14"
	r := NewResolver()
	for host, addr := range map[string]string{
		"loopback":    "127.0.0.1",
		"loopback2":   "127.8.8.8",
		"my_loop":     "127.0.0.1",
		"_":           "127.0.0.1",
		"loopback6":   "::1",
		"mapped":      "::ffff:127.0.0.1",
		"compatible":  "::127.0.0.1",
		"unspecified": "0.0.0.0",
		"unspec6":     "::",
		"private10":   "10.0.0.1",
		"private172":  "172.16.0.1",
		"private192":  "192.168.0.1",
		"cgnat":       "100.100.100.200",
		"metadata":    "169.254.169.254",
		"azure":       "168.63.129.16",
		"broadcast":   "255.255.255.255",
		"nat64":       "64:ff9b::7f00:1",
		"nat64local":  "64:ff9b:1::7f00:1",
		"sixtofour":   "2002:7f00:1::1",
		"teredo":      "2001:0:7f00:1::1",
		"ula":         "fd00:ec2::254",
		"linklocal":   "fe80::1",
		"zoned":       "fe80::1%lo",
		"sitelocal":   "fec0::1",
		"127.0.0.1":   "127.0.0.1", // a wildcard service that embeds the address
		"7f000001":    "127.0.0.1",
		"alias":       "127.0.0.1", // the end of a CNAME chain
	} {
		r.Set(host+".attack.test", []string{addr})
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = public
	}
	many[999] = "127.0.0.1"
	r.Set("many.attack.test", many)
	r.Set("mixed.attack.test", []string{public, "127.0.0.1"})
	r.Set("mixedback.attack.test", []string{"127.0.0.1", public})
	r.Set("mixed6.attack.test", []string{public, "::1"})
	r.Set("rebind.attack.test", []string{public}, []string{"127.0.0.1"})
	r.Fail("silent.attack.test", nil)
	return r
}
