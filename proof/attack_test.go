package proof_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// corpusPath is the list of hostile URLs of package egress, one per line.
const corpusPath = "../internal/egress/egresstest/testdata/attack_urls.txt"

// insideMark identifies the copy of the test that runs in its own network namespace.
const insideMark = "POSTHORN_PROOF_INSIDE"

// The public address to which names of this test may resolve.
var publicAddress = netip.MustParseAddr("93.184.216.34")

// TestAttackCorpus tries every hostile URL with create, PATCH, delivery, test and retry
// (S-01 to S-03). It runs in a network namespace in which every address of both families is
// local and the test's name server answers every query, so the canary detects a connection
// to any address.
//
// The control is the same run with every bypass of the guard enabled: the canary must detect
// connections. In the guarded run a public address must be reached, because silence alone
// would prove nothing.
func TestAttackCorpus(t *testing.T) {
	if os.Getenv(insideMark) == "" {
		enterNetwork(t, "TestAttackCorpus")
		return
	}
	isolate(t)
	names := newNames(t)
	canary := newCanary(t)
	urls := corpus(t, canary.port)

	open := attackRun(t, names, canary, urls, "--dev", "--allow-http", "--allow-network", "0.0.0.0/0,::/0")
	if open.bytes == 0 {
		t.Error("control: with the guard open the canary heard nothing")
	}
	t.Logf("FIGURE attack corpus, control with the guard open: %s", open)
	for _, args := range [][]string{nil, {"--allow-http"}} {
		shut := attackRun(t, names, canary, urls, args...)
		if shut.bytes != 0 || shut.connections != 0 {
			t.Errorf("guarded run %v: the canary heard %d bytes on %d connections, first at %s", args, shut.bytes, shut.connections, shut.first)
		}
		if args != nil && shut.public == 0 {
			t.Errorf("guarded run %v: not even a public address was reached", args)
		}
		t.Logf("FIGURE attack corpus, guarded %v: %s", args, shut)
	}
}

// enterNetwork runs the named test of this binary again in new network and mount namespaces,
// and adopts its result.
func enterNetwork(t *testing.T, name string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), insideMark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if _, figure, ok := strings.Cut(line, "FIGURE "); ok {
			t.Log("FIGURE " + strings.TrimSpace(figure))
		} else if err != nil {
			t.Log("| " + strings.TrimRight(line, "\n"))
		}
	}
	if err != nil {
		t.Fatalf("run in a network of its own: %v (needs root)", err)
	}
	if !strings.Contains(string(out), "--- PASS: "+name) {
		t.Fatalf("the copy of the test did not run:\n| %s", out)
	}
}

// isolate makes every address local and the test's name server the only one.
func isolate(t *testing.T) {
	t.Helper()
	for _, args := range []string{"link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	for target, text := range map[string]string{
		"/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
		"/etc/hosts":       "127.0.0.1 localhost\n::1 localhost\n",
	} {
		file := filepath.Join(t.TempDir(), filepath.Base(target))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount(file, target, "", syscall.MS_BIND, ""); err != nil {
			t.Fatalf("bind %s: %v", target, err)
		}
	}
}

// names is a name server that resolves every name to this machine. Late names start to exist
// when late is set. Flip names alternate between a public and a loopback address.
type names struct {
	late  atomic.Bool
	asked atomic.Int64
}

func newNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	s := &names{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := s.reply(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from) // a lost reply is queried again
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

// reply answers one question (RFC 1035, sections 4.1 and 4.2.1).
func (s *names) reply(query []byte) []byte {
	if len(query) < 17 {
		return nil
	}
	var labels []string
	at := 12
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end > len(query) {
			return nil
		}
		labels = append(labels, strings.ToLower(string(query[at+1:end])))
		at = end
	}
	if at+5 > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	name := strings.Join(labels, ".")
	if strings.HasPrefix(name, "silent.") {
		return nil
	}
	ips, exists := s.look(name)
	reply := append([]byte(nil), query[:at+5]...)
	reply[2], reply[3] = 0x81, 0x80          // response, recursion available
	clear(reply[6:12])                       // no records yet
	binary.BigEndian.PutUint16(reply[4:], 1) // one question
	if !exists {
		reply[3] |= 3 // no such name
		return reply
	}
	records := 0
	for _, ip := range ips {
		raw := ip.AsSlice()
		if kind == 1 && len(raw) != 4 || kind == 28 && len(raw) != 16 || kind != 1 && kind != 28 {
			continue
		}
		records++
		reply = append(reply, 0xc0, 12)
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = append(reply, 0, 1, 0, 0, 0, 0) // class IN, TTL 0
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(raw)))
		reply = append(reply, raw...)
	}
	binary.BigEndian.PutUint16(reply[6:], uint16(records))
	return reply
}

// hostile maps names of the corpus to the addresses that they resolve to.
var hostile = map[string][]string{
	"loopback2":   {"127.8.8.8"},
	"loopback6":   {"::1"},
	"mapped":      {"::ffff:127.0.0.1"},
	"compatible":  {"::127.0.0.1"},
	"unspecified": {"0.0.0.0"},
	"unspec6":     {"::"},
	"private10":   {"10.0.0.1"},
	"private172":  {"172.16.0.1"},
	"private192":  {"192.168.0.1"},
	"cgnat":       {"100.100.100.200"},
	"metadata":    {"169.254.169.254"},
	"azure":       {"168.63.129.16"},
	"nat64":       {"64:ff9b::7f00:1"},
	"sixtofour":   {"2002:7f00:1::1"},
	"teredo":      {"2001:0:7f00:1::1"},
	"ula":         {"fd00:ec2::254"},
	"linklocal":   {"fe80::1"},
	"sitelocal":   {"fec0::1"},
	"mixed":       {"93.184.216.34", "127.0.0.1"},
	"mixedback":   {"127.0.0.1", "93.184.216.34"},
	"mixed6":      {"93.184.216.34", "::1"},
	"many":        append(slices.Repeat([]string{"93.184.216.34"}, 40), "127.0.0.1"),
}

func (s *names) look(name string) (ips []netip.Addr, exists bool) {
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	label, domain, _ := strings.Cut(name, ".")
	switch texts := hostile[label]; {
	case strings.HasSuffix(name, "nowhere.test"):
		return nil, false
	case strings.HasPrefix(name, "late-") && !s.late.Load():
		return nil, false
	case label == "public":
		return []netip.Addr{publicAddress}, true
	case strings.HasPrefix(name, "flip-") || label == "rebind":
		if s.asked.Add(1)/2%2 == 0 { // A and AAAA are queried together
			return []netip.Addr{publicAddress}, true
		}
	case domain == "attack.test" && texts != nil:
		for _, text := range texts {
			ips = append(ips, netip.MustParseAddr(text))
		}
		return ips, true
	}
	return loopback, true
}

// canary listens on every address of the machine and counts connections.
type canary struct {
	port        string
	mu          sync.Mutex
	bytes       int64
	connections int
	public      int64 // bytes sent to the public address
	first       string
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	c := &canary{port: "18099"}
	for _, port := range []string{c.port, "80", "443", "8080", "8443"} {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go c.hear(conn)
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
	}
	return c
}

func (c *canary) hear(conn net.Conn) {
	defer conn.Close()
	local := conn.LocalAddr().(*net.TCPAddr)
	public := local.AddrPort().Addr().Unmap() == publicAddress
	c.mu.Lock()
	if !public {
		c.connections++
		if c.first == "" {
			c.first = local.String()
		}
	}
	c.mu.Unlock()
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	c.mu.Lock()
	if public {
		c.public += int64(n)
	} else {
		c.bytes += int64(n)
	}
	c.mu.Unlock()
	if err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
}

// corpus returns the hostile URLs, and names whose addresses change.
func corpus(t *testing.T, port string) []string {
	t.Helper()
	text, err := os.ReadFile(corpusPath)
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "# ") || line == "#" {
			continue
		}
		url, _, _ := strings.Cut(line, "\t")
		url, err := strconv.Unquote(`"` + url + `"`)
		if err != nil {
			t.Fatalf("%s: %q: %v", corpusPath, line, err)
		}
		urls = append(urls, strings.NewReplacer("{PORT}", port, "{LONG}", strings.Repeat("a", 2048)).Replace(url))
	}
	if len(urls) < 120 {
		t.Fatalf("only %d hostile URLs", len(urls))
	}
	for i := range 4 {
		for _, scheme := range []string{"http", "https"} {
			urls = append(urls, fmt.Sprintf("%s://late-%d.attack.test:%s/", scheme, i, port), fmt.Sprintf("%s://flip-%d.attack.test:%s/", scheme, i, port))
		}
	}
	return urls
}

// heard is the result of one run.
type heard struct {
	urls, created, patched, attempts int
	connections                      int
	bytes, public                    int64
	first                            string
}

func (h heard) String() string {
	return fmt.Sprintf("%d URLs, %d admitted on create, %d on PATCH, %d attempts: %d bytes at the canary on %d connections", h.urls, h.created, h.patched, h.attempts, h.bytes, h.connections)
}

// attacksPerTenant keeps the test events of one tenant within its limit for events sent at
// once.
const attacksPerTenant = 25

// attackRun tries every URL with every operation of a new server.
func attackRun(t *testing.T, s *names, c *canary, urls []string, args ...string) heard {
	t.Helper()
	s.late.Store(false)
	c.mu.Lock()
	c.bytes, c.connections, c.public, c.first = 0, 0, 0, ""
	c.mu.Unlock()
	n := newNode(t, filepath.Join(t.TempDir(), "data"), args...)
	n.start()
	defer n.kill()
	once := object{"retry": object{"steps": []string{"168h"}, "then": "fail"}}
	// Many tenants, because each may send only a limited number of test events at once.
	tenantOf := func(i int) string { return fmt.Sprint("attack-", i/attacksPerTenant) }
	var tenants []string
	anchors := map[string]string{}
	for i := 0; i < len(urls); i += attacksPerTenant {
		tenant := tenantOf(i)
		n.tenant(tenant)
		tenants = append(tenants, tenant)
		anchors[tenant] = n.endpoint(tenant, "https://ok.nowhere.test/", once).ID
	}
	if publicURL := "http://public.attack.test:" + c.port + "/"; len(args) > 0 {
		n.endpoint(tenants[0], publicURL, once)
	}
	h := heard{urls: len(urls)}
	var admitted []string
	refused := func(what, url string, a answer) {
		if code, _ := a.problem(); a.status != http.StatusUnprocessableEntity || !strings.HasPrefix(code, "endpoint_url_") {
			t.Errorf("%s %q: %d %s", what, url, a.status, a.body)
		}
	}
	for i, url := range urls {
		a := n.call("POST", "/v1/endpoints", object{"tenant": tenantOf(i), "url": url, "event_types": []string{"*"}, "retry": once["retry"]})
		if a.status == http.StatusCreated {
			var e endpoint
			a.json(t, &e)
			admitted = append(admitted, e.ID)
		} else {
			refused("create", url, a)
		}
	}
	h.created = len(admitted)
	for i, url := range urls {
		anchor := anchors[tenantOf(i)]
		a := n.call("PATCH", "/v1/endpoints/"+anchor, object{"url": url})
		if a.status != http.StatusOK {
			refused("PATCH", url, a)
			continue
		}
		h.patched++
		h.attempts += attempted(t, n, anchor)
	}
	s.late.Store(true)
	for _, tenant := range tenants {
		n.publish(tenant, "attack.made", `{}`)
	}
	for _, id := range admitted {
		var page struct{ Data []delivery }
		n.must(http.StatusOK, "GET", "/v1/deliveries?endpoint="+id, nil).json(t, &page)
		if len(page.Data) != 1 {
			t.Fatalf("%d deliveries of one event to one endpoint", len(page.Data))
		}
		h.attempts += retried(t, n, page.Data[0].ID) + attempted(t, n, id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h.bytes, h.connections, h.public, h.first = c.bytes, c.connections, c.public, c.first
	return h
}

// attempted sends a test event to the endpoint, waits for its attempt, retries it by hand
// and returns the number of attempts.
func attempted(t *testing.T, n *node, id string) int {
	t.Helper()
	a := n.call("POST", "/v1/endpoints/"+id+"/test", object{})
	if a.status/100 != 2 {
		t.Errorf("test event: %d %s", a.status, a.body)
		return 0
	}
	var made struct {
		Delivery string `json:"delivery"`
	}
	a.json(t, &made)
	return retried(t, n, made.Delivery)
}

// retried waits for the first attempt of a delivery, requests another by hand and waits for
// that one.
func retried(t *testing.T, n *node, id string) int {
	t.Helper()
	var d delivery
	attempts := func(atLeast int) {
		eventually(t, 40*time.Second, fmt.Sprintf("%d attempts", atLeast), func() bool {
			n.must(http.StatusOK, "GET", "/v1/deliveries/"+id, nil).json(t, &d)
			return d.Attempts >= atLeast
		})
	}
	attempts(1)
	switch a := n.call("POST", "/v1/deliveries/"+id+"/retry", nil); {
	case a.status/100 == 2:
		attempts(2)
	case a.status != http.StatusConflict:
		t.Errorf("retry: %d %s", a.status, a.body)
	}
	return d.Attempts
}
