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
	expiresSoon     = 30 * 24 * time.Hour // a certificate that the doctor warns of
	mostAuthorities = 20                  // that the doctor names
)

// wayOut are the options of serve about certificates and the proxy of deliveries.
type wayOut struct {
	caFiles               []string
	clientCert, clientKey string
	proxy                 string
	plain                 bool
}

// flags adds the options of serve about certificates and the proxy of deliveries.
func (w *wayOut) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&w.caFiles, "ca-file", nil, "--ca-file of serve, to check its certificates (POSTHORN_CA_FILE)")
	f.StringVar(&w.clientCert, "client-cert", "", "--client-cert of serve, to check it with --client-key (POSTHORN_CLIENT_CERT)")
	f.StringVar(&w.clientKey, "client-key", "", "--client-key of serve (POSTHORN_CLIENT_KEY)")
	f.StringVar(&w.proxy, "egress-proxy", "", "--egress-proxy of serve, to connect to it (POSTHORN_EGRESS_PROXY, POSTHORN_EGRESS_PROXY_FILE)")
	f.BoolVar(&w.plain, "egress-proxy-plain", false, "--egress-proxy-plain of serve (POSTHORN_EGRESS_PROXY_PLAIN)")
}

// fromEnvironment sets the options without a flag from the variables of serve.
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

// check checks the certificates and the proxy that deliveries would use.
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
			c.fail("client-cert", "%v; both --client-cert and --client-key are required", err)
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
		c.fail("egress-proxy", "%s cannot be used: %v; until it works, deliveries wait and do not fail", proxy, err)
		return
	}
	c.ok("egress-proxy", "%s accepts connections", proxy)
}

// certificate reports the subject and the expiry of a certificate.
func (c *checkup) certificate(check string, cert egress.Certificate) {
	now := time.Now()
	until := cert.NotAfter.UTC().Format(time.RFC3339)
	switch fault := cert.Fault(now); {
	case fault != "":
		c.warn(check, "%s: %s: %s", cert.File, cert.Subject, fault)
	case cert.NotAfter.Sub(now) < expiresSoon:
		c.warn(check, "%s: %s, expires soon, on %s", cert.File, cert.Subject, until)
	default:
		c.ok(check, "%s: %s, expires on %s", cert.File, cert.Subject, until)
	}
}
