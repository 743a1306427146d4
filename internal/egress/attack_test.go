package egress_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// assault passes every attack to Admit and Post, both the raw text and the admitted one. It
// returns the addresses that were passed to the dialer.
func assault(t *testing.T, o egress.Options, attacks []egresstest.Attack, judge func(egresstest.Attack, string, hook.Class)) []string {
	t.Helper()
	var mu sync.Mutex
	var dialled []string
	o.Resolver = egresstest.AttackResolver()
	o.DialContext = loopbackOnly(func(address string) {
		mu.Lock()
		defer mu.Unlock()
		dialled = append(dialled, address)
	})
	c := newClient(t, o)
	for _, a := range attacks {
		code := ""
		canonical, warnings, err := c.Admit(t.Context(), a.URL, egress.Rules{IPHosts: true})
		if err != nil {
			code = string(hook.CodeOf(err))
		}
		for _, w := range warnings {
			code = w.Code
		}
		class := hook.ClassNone
		for _, target := range []string{a.URL, canonical} {
			_, err := c.Post(t.Context(), egress.Request{URL: target, Body: []byte("x"), Timeout: time.Second})
			if target != "" {
				class = classOf(t, err)
			}
		}
		judge(a, code, class)
	}
	return dialled
}

// mixed is the result for names with public and other addresses: the public one is dialled,
// and the test's dialer refuses it.
const mixed = string(hook.ClassConnectFailed)

func TestAttackCorpus(t *testing.T) {
	canary := egresstest.NewCanary(t)
	attacks := egresstest.Attacks(canary.Port())
	if len(attacks) < 150 {
		t.Fatalf("the corpus has %d attacks, want at least 150", len(attacks))
	}

	t.Run("https only", func(t *testing.T) {
		dialled := assault(t, egress.Options{}, attacks, func(a egresstest.Attack, code string, _ hook.Class) {
			if code == "" && a.Want != mixed && a.Want != string(hook.ClassDNSNotFound) {
				t.Errorf("%q is admitted", a.URL)
			}
		})
		if len(dialled) > 0 {
			t.Errorf("dialled %v", dialled)
		}
	})
	t.Run("http too", func(t *testing.T) {
		dialled := assault(t, egress.Options{AllowHTTP: true}, attacks, func(a egresstest.Attack, code string, class hook.Class) {
			switch {
			case code == "" && string(class) != a.Want:
				t.Errorf("%q is admitted, then %q, want %s", a.URL, class, a.Want)
			case code != "" && code != a.Want:
				t.Errorf("%q: %s, want %s", a.URL, code, a.Want)
			}
			if class != hook.ClassURLRefused && class != hook.ClassBlockedAddress && class != hook.ClassDNSNotFound && a.Want != mixed {
				t.Errorf("%q: posting ended as %q", a.URL, class)
			}
		})
		for _, address := range dialled {
			if !strings.HasPrefix(address, "93.184.215.14:") {
				t.Errorf("dialled %s", address)
			}
		}
	})
	if n, b := canary.Connections(), canary.Bytes(); n != 0 || b != 0 {
		t.Fatalf("the canary heard %d connections, %d bytes", n, b)
	}

	t.Run("control", func(t *testing.T) {
		open := egress.Options{AllowHTTP: true, AllowLocal: true, AllowNetworks: everywhere}
		dialled := assault(t, open, attacks, func(egresstest.Attack, string, hook.Class) {})
		if canary.Bytes() == 0 || canary.Connections() < 20 {
			t.Errorf("with the guard open the canary heard %d connections, %d bytes: the test proves nothing",
				canary.Connections(), canary.Bytes())
		}
		t.Logf("%d attacks; guarded: 0 dials, 0 bytes; open: %d dials, %d connections and %d bytes at the canary",
			len(attacks), len(dialled), canary.Connections(), canary.Bytes())
	})
}

// TestRebinding counts the queries. An implementation that resolves a name once for the
// check and again for the dial would dial an address that it never checked.
func TestRebinding(t *testing.T) {
	const public, private = "93.184.215.14", "127.0.0.1"
	resolver := egresstest.NewResolver().Set("moves.attack.test", []string{public}, []string{private})
	var dialled []string
	c := newClient(t, egress.Options{
		AllowHTTP:   true,
		Resolver:    resolver,
		DialContext: loopbackOnly(func(address string) { dialled = append(dialled, address) }),
	})
	post := func() hook.Class {
		_, err := c.Post(t.Context(), egress.Request{URL: "http://moves.attack.test:8080/", Body: []byte("x"), Timeout: time.Second})
		return classOf(t, err)
	}
	if class := post(); class != hook.ClassConnectFailed {
		t.Errorf("first attempt: %s", class)
	}
	if calls := resolver.Calls("moves.attack.test"); calls != 1 {
		t.Errorf("one dial asked %d times", calls)
	}
	if len(dialled) != 1 || dialled[0] != public+":8080" {
		t.Errorf("dialled %v, checked %s", dialled, public)
	}
	if class := post(); class != hook.ClassDNSNotFound {
		t.Errorf("second attempt: %s", class)
	}
	if len(dialled) != 1 || resolver.Calls("moves.attack.test") != 2 {
		t.Errorf("dialled %v after %d questions", dialled, resolver.Calls("moves.attack.test"))
	}
}

// TestControl tests the last check, which is on the socket's address.
func TestControl(t *testing.T) {
	var rules []string
	c := newClient(t, egress.Options{Blocked: func(rule string) { rules = append(rules, rule) }})
	for _, address := range []string{"127.0.0.1:443", "[::ffff:127.0.0.1]:443", "[fe80::1%lo]:443", "169.254.169.254:80", "name:443"} {
		if class := classOf(t, c.Control(address)); class != hook.ClassBlockedAddress {
			t.Errorf("%s: %q", address, class)
		}
	}
	if err := c.Control("93.184.215.14:443"); err != nil {
		t.Errorf("a public address is refused: %v", err)
	}
	if len(rules) != 4 {
		t.Errorf("blocked hook heard %v", rules)
	}
}

func TestOwnListener(t *testing.T) {
	receiver := egresstest.NewReceiver(t, egresstest.OK())
	c := newClient(t, egress.Options{AllowHTTP: true, AllowLocal: true, AllowNetworks: everywhere})
	post := func(host string) hook.Class {
		_, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("http", host), Body: []byte("x"), Timeout: time.Second})
		return classOf(t, err)
	}
	hosts := []string{"127.0.0.1", "localhost", "0.0.0.0"}
	for _, host := range hosts {
		if class := post(host); class != hook.ClassNone {
			t.Fatalf("control: %s is not reached: %s", host, class)
		}
	}
	before := receiver.Bytes()
	port := strconv.Itoa(receiver.Port())
	for _, self := range []string{receiver.Addr(), "0.0.0.0:" + port, "[::]:" + port} {
		if err := c.SetSelf([]netip.AddrPort{netip.MustParseAddrPort(self)}); err != nil {
			t.Fatal(err)
		}
		for _, host := range hosts {
			want := []hook.Class{hook.ClassBlockedAddress}
			if host == "localhost" { // a name: its other address is dialled, or none may be
				want = []hook.Class{hook.ClassRefused, hook.ClassDNSNotFound}
			}
			if class := post(host); !slices.Contains(want, class) {
				t.Errorf("listening on %s, posting to %s: %q", self, host, class)
			}
		}
		_, _, err := c.Admit(t.Context(), receiver.URL("http", "127.0.0.1"), egress.Rules{IPHosts: true})
		if hook.CodeOf(err) != hook.CodeURLAddress {
			t.Errorf("listening on %s: admitted: %v", self, err)
		}
	}
	if after := receiver.Bytes(); after != before {
		t.Errorf("the own listener heard %d bytes", after-before)
	}
	if err := c.SetSelf([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}); err != nil {
		t.Fatal(err)
	}
	if class := post("127.0.0.1"); class != hook.ClassNone {
		t.Errorf("another port of the own host: %s", class)
	}
}

func TestAdmitCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := newClient(t, egress.Options{Resolver: egresstest.AttackResolver()})
	_, _, err := c.Admit(ctx, "https://silent.attack.test/", egress.Rules{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
