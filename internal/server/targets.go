package server

import (
	"net/netip"
	"strings"

	"github.com/posthorn/posthorn/internal/egress"
)

// targets are the options about where deliveries may go, parsed.
type targets struct {
	allowHosts, denyHosts []egress.HostPattern
	denyNetworks          []netip.Prefix
}

// checkTargets parses the options about where deliveries may go.
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
			all.add(wrong("allow-host", "%q is a public name, which needs no permission, so it would do nothing; take it out, and if it leads to a private address, admit that with --allow-network", host))
		}
	}
	c.targets.denyHosts, err = parseHosts("deny-host", c.DenyHost)
	all.add(err)
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
