package egress_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// A receiver with a certificate from a private authority is trusted if the authority's file
// is configured, and otherwise not.
func TestAuthorities(t *testing.T) {
	const host = "shop.example"
	ca, other := egresstest.NewCA(t), egresstest.NewCA(t)
	file, _ := egresstest.Write(t, ca.Own())
	second, _ := egresstest.Write(t, other.Own())
	pool, added, err := egress.ReadAuthorities([]string{second, file})
	if err != nil || len(added) != 2 || added[1].File != file || added[1].Subject != "CN=egresstest" || added[1].Fault(time.Now()) != "" {
		t.Fatalf("%+v, %v", added, err)
	}
	if got := added[1].Fault(time.Now().Add(25 * time.Hour)); !strings.HasPrefix(got, "expired at ") {
		t.Errorf("a day later: %q", got)
	}
	receiver := egresstest.NewTLSReceiver(t, ca.Server(host), egresstest.OK())
	for _, tt := range []struct {
		roots *x509.CertPool
		want  hook.Class
	}{{pool, hook.ClassNone}, {nil, hook.ClassTLSUntrusted}, {other.Pool(), hook.ClassTLSUntrusted}} {
		c := newClient(t, egress.Options{AllowNetworks: loopback, RootCAs: tt.roots, Resolver: egresstest.NewResolver().Set(host, []string{"127.0.0.1"})})
		_, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("https", host), Body: []byte("x")})
		if class := classOf(t, err); class != tt.want {
			t.Errorf("%q: %v", class, err)
		}
	}
}

func TestBadAuthorities(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	_, key := egresstest.Write(t, egresstest.NewCA(t).Own())
	bad := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")}))
	for file, says := range map[string]string{
		filepath.Join(dir, "none"): "no such file", dir: "not a regular file", write("empty", ""): "no certificate in it", key: "no certificate in it",
		write("text", "hello"): "no certificate in it", write("bad", bad): "certificate 1 cannot be read", write("large", strings.Repeat("x", 1<<20+1)): "larger than 1 MiB",
	} {
		_, _, err := egress.ReadAuthorities([]string{file})
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", file, err, says)
		}
	}
}

// A receiver that requests a certificate from its authority gets it. One that requests
// another does not. Nothing of the key appears in errors or logs.
func TestClientCertificate(t *testing.T) {
	const host = "shop.example"
	ca, other := egresstest.NewCA(t), egresstest.NewCA(t, "other")
	issue := func(ca *egresstest.CA) (string, string) {
		return egresstest.Write(t, ca.Issue([]string{"sender.example"}, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
	}
	cert, key := issue(ca)
	otherCert, otherKey := issue(other)
	config := ca.Server(host)
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	receiver := egresstest.NewTLSReceiver(t, config, egresstest.OK())
	for _, tt := range []struct {
		cert, key string
		want      hook.Class
		says      string
	}{{cert, key, hook.ClassNone, ""}, {otherCert, otherKey, hook.ClassTLSHandshake, "does not accept the client certificate"}, {"", "", hook.ClassTLSHandshake, "which deliveries do not have"}} {
		var own *tls.Certificate
		if tt.cert != "" {
			pair, described, err := egress.ReadClientCertificate(tt.cert, tt.key)
			if err != nil || described.File != tt.cert || described.NotAfter.Before(time.Now()) {
				t.Fatal(described, err)
			}
			own = pair
		}
		var log bytes.Buffer
		c := newClient(t, egress.Options{AllowNetworks: loopback, RootCAs: ca.Pool(), ClientCertificate: own, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Resolver: egresstest.NewResolver().Set(host, []string{"127.0.0.1"})})
		_, err := c.Post(t.Context(), egress.Request{URL: receiver.URL("https", host), Body: []byte("x")})
		if class := classOf(t, err); class != tt.want || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v, want %q", class, err, tt.says)
		}
		if tt.cert != "" && (showsKey(t, tt.key, log.String()) || showsKey(t, tt.key, fmt.Sprint(err))) {
			t.Error("the key is shown")
		}
	}
}

// showsKey reports whether a text contains a line of the key's file.
func showsKey(t *testing.T, file, text string) bool {
	t.Helper()
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); line != "" && strings.Contains(text, line) {
			return true
		}
	}
	return false
}

func TestBadClientCertificate(t *testing.T) {
	ca := egresstest.NewCA(t)
	cert, key := egresstest.Write(t, ca.Issue([]string{"a.example"}))
	_, otherKey := egresstest.Write(t, ca.Issue([]string{"a.example"}))
	_, open := egresstest.Write(t, ca.Issue([]string{"a.example"}))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	sealed := filepath.Join(t.TempDir(), "sealed.pem")
	if err := os.WriteFile(sealed, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ cert, key, names, says string }{
		{cert, otherKey, otherKey, "does not match"}, {cert, open, open, "every user of this machine may open the key (mode 0644); run: chmod o= "},
		{cert, sealed, sealed, "encrypted"}, {cert, cert, cert, "found a certificate rather than a key"}, {key, key, key, "find"}, {cert, "/none", "/none", "no such file"}, {"/none", key, "/none", "no such file"},
	} {
		_, _, err := egress.ReadClientCertificate(tt.cert, tt.key)
		if err == nil || !strings.Contains(err.Error(), tt.names) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %s: %v, want %q", tt.cert, tt.key, err, tt.says)
		} else if showsKey(t, key, err.Error()) {
			t.Errorf("%v shows the key", err)
		}
	}
	if _, _, err := egress.ReadClientCertificate(cert, key); err != nil {
		t.Errorf("control: %v", err)
	}
}
