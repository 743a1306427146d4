package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
)

// targets are the options about where deliveries may go, parsed.
type targets struct {
	allowHosts, denyHosts []egress.HostPattern
	denyNetworks          []netip.Prefix

	roots       *x509.CertPool // nil: the system's
	authorities []egress.Certificate
	clientCert  *tls.Certificate
	ownCert     egress.Certificate
	proxy       *egress.Proxy
}

// checkTargets parses the options about where deliveries may go.
func (c *Config) checkTargets() (err error) {
	c.targets = targets{}
	if c.networks, err = parseNetworks("allow-network", c.AllowNetwork); err != nil {
		return err
	}
	if c.targets.denyNetworks, err = parseNetworks("deny-network", c.DenyNetwork); err != nil {
		return err
	}
	if c.targets.allowHosts, err = parseHosts("allow-host", c.AllowHost); err != nil {
		return err
	}
	if c.targets.denyHosts, err = parseHosts("deny-host", c.DenyHost); err != nil {
		return err
	}
	return c.targets.read(wayOut{c.CAFile, c.ClientCert, c.ClientKey, c.EgressProxy, c.EgressProxyPlain})
}

// wayOut are the options about certificates and the proxy of deliveries.
type wayOut struct {
	caFiles               []string
	clientCert, clientKey string
	proxy                 string
	plain                 bool
}

// read reads the files and the address of the proxy.
func (t *targets) read(w wayOut) (err error) {
	if len(w.caFiles) > 0 {
		if t.roots, t.authorities, err = egress.ReadAuthorities(w.caFiles); err != nil {
			return usage("--ca-file: %w", err)
		}
	}
	switch {
	case w.clientCert != "" && w.clientKey == "":
		return usage("--client-cert: --client-key is missing, the file with the key of the certificate")
	case w.clientKey != "" && w.clientCert == "":
		return usage("--client-key: --client-cert is missing, the file with the certificate of the key")
	case w.clientCert != "":
		if t.clientCert, t.ownCert, err = egress.ReadClientCertificate(w.clientCert, w.clientKey); err != nil {
			return usage("--client-cert, --client-key: %w", err)
		}
	}
	if w.proxy != "" {
		if t.proxy, err = egress.ParseProxy(w.proxy, w.plain); err != nil {
			return usage("--egress-proxy: %w", err)
		}
	}
	return nil
}

// announce logs the certificates of the operator's own, and warns of those that are not
// valid now. The proxy is logged by [egress.New].
func (t *targets) announce(log *slog.Logger) {
	files := map[string]int{}
	for _, cert := range t.authorities {
		files[cert.File]++
		if fault := cert.Fault(time.Now()); fault != "" {
			log.Warn("certificate of --ca-file is not valid now", "file", cert.File, "subject", cert.Subject, "fault", fault)
		}
	}
	for file, n := range files {
		log.Info("authorities for certificates of receivers added", "file", file, "certificates", n)
	}
	if t.clientCert == nil {
		return
	}
	log.Info("client certificate", "file", t.ownCert.File, "subject", t.ownCert.Subject, "not_after", t.ownCert.NotAfter)
	if fault := t.ownCert.Fault(time.Now()); fault != "" {
		log.Warn("certificate of --client-cert is not valid now", "file", t.ownCert.File, "subject", t.ownCert.Subject, "fault", fault)
	}
}

// checkProxy refuses a proxy that would be spoken to in the clear over the internet.
func (t *targets) checkProxy(ctx context.Context) error {
	if t.proxy == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := t.proxy.Check(ctx); err != nil {
		return usage("--egress-proxy: %w", err)
	}
	return nil
}

// maskedProxy is the address of a proxy without the credentials.
func maskedProxy(text string) string {
	proxy, err := egress.ParseProxy(text, false)
	switch {
	case err != nil:
		return "***"
	case strings.Contains(text, "@"):
		return strings.Replace(proxy.String(), "://", "://***@", 1)
	}
	return proxy.String()
}

func parseNetworks(flag string, texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, usage("--%s: %q is not a network such as 10.0.0.0/8", flag, text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

func parseHosts(flag string, texts []string) (hosts []egress.HostPattern, err error) {
	for _, text := range texts {
		host, err := egress.ParseHostPattern(strings.TrimSpace(text))
		if err != nil {
			return nil, usage("--%s: %q: %w", flag, text, err)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}
