package server

import (
	"net/netip"
	"strings"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/exit"
)

// targets are the options about where deliveries may go, parsed.
type targets struct {
	allowHosts, denyHosts []egress.HostPattern
	denyNetworks          []netip.Prefix
}

// checkTargets parses the options about where deliveries may go.
func (c *Config) checkTargets() error {
	c.targets = targets{}
	var all Faults
	var err error
	c.networks, err = parseNetworks("allow-network", c.AllowNetwork)
	all.add(err)
	c.targets.denyNetworks, err = parseNetworks("deny-network", c.DenyNetwork)
	all.add(err)
	c.targets.allowHosts, err = parseHosts("allow-host", c.AllowHost)
	all.add(err)
	c.targets.denyHosts, err = parseHosts("deny-host", c.DenyHost)
	all.add(err)
	return all.err()
}

func parseNetworks(flag string, texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		network, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, exit.Usagef("--%s: %q is not a network such as 10.0.0.0/8", flag, text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

func parseHosts(flag string, texts []string) (hosts []egress.HostPattern, err error) {
	for _, text := range texts {
		host, err := egress.ParseHostPattern(strings.TrimSpace(text))
		if err != nil {
			return nil, exit.Usagef("--%s: %q: %w", flag, text, err)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}
