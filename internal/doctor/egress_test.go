package doctor

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/exit"
)

// TestDoctorNamesTheWayOut checks that the doctor reports the certificates in use with the
// end of their validity, and whether the proxy is reachable. The options come from flags and
// from the environment variables of serve.
func TestDoctorNamesTheWayOut(t *testing.T) {
	ca := egresstest.NewCA(t)
	authority, _ := egresstest.Write(t, ca.Issue(nil, func(c *x509.Certificate) { c.Subject.CommonName, c.NotAfter = "corp root", time.Now().AddDate(1, 0, 0) }))
	old, _ := egresstest.Write(t, ca.Issue(nil, func(c *x509.Certificate) { c.Subject.CommonName, c.NotAfter = "old root", time.Now().Add(-time.Minute) }))
	cert, key := egresstest.Write(t, ca.Issue([]string{"sender.example"}))
	proxy := egresstest.NewReceiver(t, egresstest.OK())
	data := t.TempDir()

	t.Setenv("POSTHORN_CA_FILE", authority)
	t.Setenv("POSTHORN_EGRESS_PROXY", "http://u:planted@"+proxy.Addr())
	lines, _ := doctor(t, "--data", data, "--client-cert", cert, "--client-key", key)
	expect(t, lines, map[string]string{
		"ca-file": "ok CN=corp root, expires on " + time.Now().AddDate(1, 0, 0).UTC().Format("2006-01"), "client-cert": "warn expires soon",
		"egress-proxy": "ok http://" + proxy.Addr() + " accepts connections",
	})
	proxy.Close()
	if err := os.Chmod(key, 0o604); err != nil {
		t.Fatal(err)
	}
	lines, code := doctor(t, "--data", data, "--ca-file", old, "--client-cert", cert, "--client-key", key)
	expect(t, lines, map[string]string{"ca-file": "warn CN=old root: expired at ", "client-cert": "fail mode 0604", "egress-proxy": "fail deliveries wait"})
	if strings.Contains(lines["egress-proxy"], "planted") || code != exit.Failed {
		t.Errorf("code %d, %q", code, lines["egress-proxy"])
	}
	t.Setenv("POSTHORN_CA_FILE", "")
	t.Setenv("POSTHORN_EGRESS_PROXY", "")
	if lines, _ := doctor(t, "--data", data); lines["ca-file"]+lines["client-cert"]+lines["egress-proxy"] != "" {
		t.Errorf("named without being asked: %v", lines)
	}
}
