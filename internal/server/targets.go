package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/exit"
)

// targets are the parsed options about where deliveries may be sent.
type targets struct {
	allowHosts, denyHosts []egress.HostPattern
	denyNetworks          []netip.Prefix

	roots       *x509.CertPool // nil: the system's
	authorities []egress.Certificate
	clientCert  *tls.Certificate
	ownCert     egress.Certificate
	proxy       *egress.Proxy
}

// checkTargets parses the options about where deliveries may be sent.
func (c *Config) checkTargets(all *Faults) {
	c.targets = targets{}
	var err error
	c.networks, err = parseNetworks("allow-network", c.AllowNetwork)
	all.add(err)
	c.targets.denyNetworks, err = parseNetworks("deny-network", c.DenyNetwork)
	all.add(err)
	c.targets.allowHosts, err = parseHosts("allow-host", c.AllowHost)
	all.add(err)
	for _, host := range c.targets.allowHosts {
		if host.Public() {
			all.add(wrong("allow-host", "%q is a public name, which is always allowed; remove it, and if it resolves to a private address, allow that with --allow-network", host))
		}
	}
	c.targets.denyHosts, err = parseHosts("deny-host", c.DenyHost)
	all.add(err)
	c.readWayOut(&c.targets, all)
}

// readWayOut reads the certificates and the address of the proxy.
func (c *Config) readWayOut(t *targets, all *Faults) {
	var err error
	if len(c.CAFile) > 0 {
		if t.roots, t.authorities, err = egress.ReadAuthorities(c.CAFile); err != nil {
			all.add(wrong("ca-file", "%w", err))
		}
	}
	switch {
	case c.ClientCert != "" && c.ClientKey == "":
		all.add(wrong("client-cert", "--client-key is missing, the file with the private key of the certificate"))
	case c.ClientKey != "" && c.ClientCert == "":
		all.add(wrong("client-key", "--client-cert is missing, the file with the certificate of the key"))
	case c.ClientCert != "":
		if t.clientCert, t.ownCert, err = egress.ReadClientCertificate(c.ClientCert, c.ClientKey); err != nil {
			all.add(wrong("client-cert", "%w", err))
		}
	}
	if c.EgressProxy != "" {
		if t.proxy, err = egress.ParseProxy(c.EgressProxy, c.EgressProxyPlain); err != nil {
			all.add(wrong("egress-proxy", "%w", err))
		}
	}
}

// announce logs the operator's own certificates, and warns of those that are not valid now.
// [egress.New] logs the proxy.
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

// checkProxy returns an error if the proxy would be used unencrypted over the internet.
func (t *targets) checkProxy(ctx context.Context) error {
	if t.proxy == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := t.proxy.Check(ctx); err != nil {
		return exit.Usagef("--egress-proxy: %w", err)
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
			return nil, wrong(flag, "%q is not a network such as 10.0.0.0/8", text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

func parseHosts(flag string, texts []string) (hosts []egress.HostPattern, err error) {
	for _, text := range texts {
		host, err := egress.ParseHostPattern(strings.TrimSpace(text))
		if err != nil {
			return nil, wrong(flag, "%q: %w", text, err)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}
