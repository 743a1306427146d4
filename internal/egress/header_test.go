package egress_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestCheckHeaders(t *testing.T) {
	header := func(name, value string) []hook.Header { return []hook.Header{{Name: name, Value: value}} }
	for _, good := range [][]hook.Header{
		nil,
		header("Authorization", "Bearer s3cr3t"),
		header("X-Team", "a\tb ~"),
		header("x", ""),
		header(strings.Repeat("a", 64), strings.Repeat("b", 4096)),
	} {
		if err := egress.CheckHeaders(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	many := make([]hook.Header, 21)
	for i := range many {
		many[i] = hook.Header{Name: fmt.Sprintf("x-%d", i), Value: "s3cr3t"}
	}
	if err := egress.CheckHeaders(many[:20]); err != nil {
		t.Errorf("20 headers: %v", err)
	}
	for _, tt := range []struct {
		headers []hook.Header
		code    hook.Code
		message string
	}{
		{header("Host", "s3cr3t"), hook.CodeHeaderRefused, "Header Host cannot be set: the connection itself depends on it. Leave it out."},
		{header("WEBHOOK-ID", "s3cr3t"), hook.CodeHeaderRefused, "Header WEBHOOK-ID cannot be set: the server sets it itself. Leave it out."},
		{header("X-A", "s3cr3t\r\nX-B: 1"), hook.CodeHeaderInvalid, "Header X-A has U+000D (byte 7) in its value. Printable ASCII, spaces and tabs are allowed."},
		{header("X-A", "s3cr3t\u00fc"), hook.CodeHeaderInvalid, "Header X-A has U+00FC (byte 7) in its value. Printable ASCII, spaces and tabs are allowed."},
		{header("X-A", "s3cr3t\xff"), hook.CodeHeaderInvalid, "Header X-A has a byte that is not UTF-8 (byte 7) in its value. Printable ASCII, spaces and tabs are allowed."},
		{header("X A\n", "s3cr3t"), hook.CodeHeaderInvalid, "Header \"X A\\n\" has U+0020 (byte 2) in its name. Letters, digits and !#$%&'*+-.^_`|~ are allowed."},
		{header("", "s3cr3t"), hook.CodeHeaderInvalid, "Header 1 of the list has no name."},
		{header(strings.Repeat("a", 65), "s3cr3t"), hook.CodeHeaderInvalid, "Header " + strings.Repeat("a", 64) + " has a name longer than 64 bytes."},
		{header("X-A", strings.Repeat("s3cr3t", 700)), hook.CodeHeaderInvalid, "Header X-A has a value longer than 4 KiB."},
		{append(header("Authorization", "a"), header("AUTHORIZATION", "s3cr3t")...), hook.CodeHeaderInvalid, "Header AUTHORIZATION is set twice. Names are compared without regard to case."},
		{many, hook.CodeHeaderInvalid, "At most 20 headers can be set."},
	} {
		refusal, ok := egress.CheckHeaders(tt.headers).(*hook.Error)
		if !ok {
			t.Errorf("%v is accepted", tt.headers)
			continue
		}
		if refusal.Code != tt.code || refusal.Message != tt.message || refusal.Field != "headers" {
			t.Errorf("got %+v, want %s %q", *refusal, tt.code, tt.message)
		}
		if strings.Contains(refusal.Error(), "s3cr3t") {
			t.Errorf("the error shows the value: %v", refusal)
		}
	}
	for _, name := range []string{
		"host", "Content-Type", "content-length", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive",
		"TE", "Trailer", "Upgrade", "Expect", "Proxy-Authorization", "Proxy-Connection", "Forwarded", "X-Forwarded-For",
		"X-Forwarded-Host", "Via", "Cookie2", "webhook-signature", "Posthorn-Attempt", "X-Posthorn-Attempt",
		"X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Original-URL", "X-HTTP-Method-Override", "Metadata-Flavor", "Metadata",
		"X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds", "X_Forwarded_For", "x_team", "Authorization_",
	} {
		if err := egress.CheckHeaders(header(name, "x")); hook.CodeOf(err) != hook.CodeHeaderRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// injections are headers that could become two headers, or end the message.
func injections() []hook.Header {
	var out []hook.Header
	for _, ending := range []string{"\r\n", "\n", "\r", "\r\n ", "\n\t", "\x00", "\x00\r\n", "\r\r\n", "\x0b", "\x0c", "\x7f", "\x1b", "\x85\n", "\r\n\r\n", "\x01"} {
		out = append(out,
			hook.Header{Name: "X-A", Value: "1" + ending + "X-Injected: 1"},
			hook.Header{Name: "X-A", Value: ending + "X-Injected: 1"},
			hook.Header{Name: "X-A" + ending + "X-Injected", Value: "1"},
			hook.Header{Name: "X-A: 1" + ending + "X-Injected", Value: "1"},
		)
	}
	for _, name := range []string{
		"", " ", "X-A ", " X-A", "X-A:", "X A", "X-\u00fc", "(x)", "x\"y", "x/y", "x@y", "{x}", "X-Injected: 1\r\nX-A",
		"Host", "HOST", "Content-Length", "content-length", "Transfer-Encoding", "tRANSFER-eNCODING", "Connection", "Keep-Alive",
		"TE", "Trailer", "Upgrade", "Expect", "Proxy-Connection", "Proxy-Authorization", "HTTP2-Settings", "webhook-ID", "User-agent",
	} {
		out = append(out, hook.Header{Name: name, Value: "chunked"})
	}
	return out
}

// headerNames returns the sorted lower-case names of the header lines of a raw
// request, as a receiver that also ends lines at a bare CR, LF or NUL would see them.
func headerNames(raw []byte) []string {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\nBODY"))
	var names []string
	for i, line := range bytes.FieldsFunc(head, func(r rune) bool { return r == '\r' || r == '\n' || r == 0 }) {
		if name, _, _ := bytes.Cut(line, []byte(":")); i > 0 {
			names = append(names, strings.ToLower(string(name)))
		}
	}
	slices.Sort(names)
	return names
}

func TestHeaderInjection(t *testing.T) {
	base := []hook.Header{{Name: "webhook-id", Value: "1"}, {Name: "User-Agent", Value: "test/1"}, {Name: "Content-Type", Value: "application/json"}}
	want := []string{"content-length", "content-type", "host", "user-agent", "webhook-id"}
	attacks := injections()
	if len(attacks) < 60 {
		t.Fatalf("only %d injections", len(attacks))
	}
	receiver := egresstest.NewReceiver(t, egresstest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	c := newClient(t, egress.Options{AllowHTTP: true, AllowNetworks: loopback})
	post := func(headers []hook.Header) hook.Class {
		_, err := c.Post(t.Context(), egress.Request{
			URL: receiver.URL("http", "127.0.0.1"), Headers: headers, Body: []byte("BODY"), Timeout: 2 * time.Second,
		})
		return classOf(t, err)
	}
	if class := post(base); class != hook.ClassNone {
		t.Fatalf("base request: %s", class)
	}
	if got := headerNames(receiver.Received()[0]); !slices.Equal(got, want) {
		t.Fatalf("base request has the headers %q, want %q", got, want)
	}
	for _, attack := range attacks {
		if class := post(append(slices.Clone(base), attack)); class != hook.ClassNotSent {
			t.Errorf("%q: %q: %q", attack.Name, attack.Value, class)
		}
		if err := egress.CheckHeaders([]hook.Header{attack}); err == nil && !strings.EqualFold(attack.Name, "user-agent") {
			t.Errorf("%q: %q can be stored", attack.Name, attack.Value)
		}
	}
	if n := receiver.Connections(); n != 1 {
		t.Errorf("%d requests were sent, want the base one only", n)
	}
	for _, raw := range receiver.Received() {
		if got := headerNames(raw); !slices.Equal(got, want) {
			t.Errorf("extra header lines: %q", got)
		}
	}

	// Control: if the same headers are written unchecked, the injection must be visible.
	shown := 0
	for _, attack := range attacks {
		conn, err := net.Dial("tcp", receiver.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: h\r\nUser-Agent: t\r\nContent-Type: x\r\nwebhook-id: 1\r\n%s: %s\r\nContent-Length: 4\r\n\r\nBODY", attack.Name, attack.Value)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
		all := receiver.Received()
		if got := headerNames(all[len(all)-1]); !slices.Equal(got, want) {
			shown++
		}
	}
	if shown < 60 {
		t.Errorf("control: only %d of %d unguarded injections show at the receiver", shown, len(attacks))
	}
	t.Logf("%d injections: 0 extra header lines; unguarded: %d", len(attacks), shown)
}
