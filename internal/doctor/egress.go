package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/exit"
)

const (
	expiresSoon     = 30 * 24 * time.Hour // remaining validity of a certificate below which the doctor warns
	mostAuthorities = 20                  // maximum number that the doctor lists
)

// wayOut holds the options of serve for certificates and for the proxy of deliveries.
type wayOut struct {
	caFiles               []string
	clientCert, clientKey string
	proxy                 string
	plain                 bool
}

// flags adds the options of serve for certificates and for the proxy of deliveries.
func (w *wayOut) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&w.caFiles, "ca-file", nil, "as of serve (POSTHORN_CA_FILE): name its certificates and until when they are valid")
	f.StringVar(&w.clientCert, "client-cert", "", "as of serve (POSTHORN_CLIENT_CERT), with --client-key")
	f.StringVar(&w.clientKey, "client-key", "", "as of serve (POSTHORN_CLIENT_KEY)")
	f.StringVar(&w.proxy, "egress-proxy", "", "as of serve (POSTHORN_EGRESS_PROXY, POSTHORN_EGRESS_PROXY_FILE): connect to it")
	f.BoolVar(&w.plain, "egress-proxy-plain", false, "as of serve (POSTHORN_EGRESS_PROXY_PLAIN)")
}

// fromEnvironment fills the options without a flag from the environment variables of serve.
func (w *wayOut) fromEnvironment() error {
	if files := os.Getenv("POSTHORN_CA_FILE"); len(w.caFiles) == 0 && files != "" {
		w.caFiles = strings.Split(files, ",")
	}
	w.clientCert = cmp.Or(w.clientCert, os.Getenv("POSTHORN_CLIENT_CERT"))
	w.clientKey = cmp.Or(w.clientKey, os.Getenv("POSTHORN_CLIENT_KEY"))
	w.proxy = cmp.Or(w.proxy, os.Getenv("POSTHORN_EGRESS_PROXY"))
	if file := os.Getenv("POSTHORN_EGRESS_PROXY_FILE"); w.proxy == "" && file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return exit.Usagef("POSTHORN_EGRESS_PROXY_FILE: %w", err)
		}
		w.proxy = strings.TrimRight(string(text), "\r\n")
	}
	w.plain = w.plain || os.Getenv("POSTHORN_EGRESS_PROXY_PLAIN") == "true"
	return nil
}

// check reports which certificates and which proxy deliveries would use.
func (w *wayOut) check(ctx context.Context, c *checkup, timeout time.Duration) {
	var roots *x509.CertPool
	if len(w.caFiles) > 0 {
		pool, added, err := egress.ReadAuthorities(w.caFiles)
		if err != nil {
			c.fail("ca-file", "%v", err)
		}
		for i, cert := range added {
			if i == mostAuthorities {
				c.ok("ca-file", "and %d more", len(added)-i)
				break
			}
			c.certificate("ca-file", cert)
		}
		roots = pool
	}
	if w.clientCert != "" || w.clientKey != "" {
		if _, cert, err := egress.ReadClientCertificate(w.clientCert, w.clientKey); err != nil {
			c.fail("client-cert", "%v; both --client-cert and --client-key are needed", err)
		} else {
			c.certificate("client-cert", cert)
		}
	}
	if w.proxy == "" {
		return
	}
	proxy, err := egress.ParseProxy(w.proxy, w.plain)
	if err != nil {
		c.fail("egress-proxy", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := proxy.Reach(ctx, roots); err != nil {
		c.fail("egress-proxy", "%s cannot be used: %v; while that is so, no delivery leaves, and none fails for it", proxy, err)
		return
	}
	c.ok("egress-proxy", "%s takes connections", proxy)
}

// certificate reports the subject of a certificate and the end of its validity.
func (c *checkup) certificate(check string, cert egress.Certificate) {
	now := time.Now()
	until := cert.NotAfter.UTC().Format(time.RFC3339)
	switch fault := cert.Fault(now); {
	case fault != "":
		c.warn(check, "%s: %s: %s", cert.File, cert.Subject, fault)
	case cert.NotAfter.Sub(now) < expiresSoon:
		c.warn(check, "%s: %s, not after %s, which is soon", cert.File, cert.Subject, until)
	default:
		c.ok(check, "%s: %s, not after %s", cert.File, cert.Subject, until)
	}
}
