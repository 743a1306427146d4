package server

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/posthorn/posthorn/internal/api/jwks"
	"github.com/posthorn/posthorn/internal/api/paysway"
	"github.com/posthorn/posthorn/internal/api/paywise"
)

// mountNone says that no seed's management API is to be served.
const mountNone = "none"

// mounts are the management APIs that can be served beside the native one.
var mounts = []string{"paysway", "paywise"}

// checkMounts refuses what cannot be mounted, and none beside something.
func (c *Config) checkMounts() error {
	for _, name := range c.Mount {
		if name != mountNone && !slices.Contains(mounts, name) {
			return wrong("mount", "%q is not one of paysway, paywise, none", name)
		}
		if name == mountNone && len(c.Mount) > 1 {
			return wrong("mount", "none stands for itself")
		}
	}
	if c.SubscriptionLimit < 0 || c.SubscriptionLimit > 100_000 {
		return wrong("paysway-subscription-limit", "%d is not between 0 and 100000", c.SubscriptionLimit)
	}
	return nil
}

// mountSeeds serves the management APIs that were asked for; by default that of the
// default profile. The public keys are served if the configuration says so.
func (n *Node) mountSeeds() error {
	if n.cfg.PublicJWKS {
		n.mux.Handle(jwks.Pattern, jwks.New(jwks.Options{Service: n.app, Log: n.apiLog, Refused: n.counts.refuse}))
	}
	wanted := n.cfg.Mount
	if len(wanted) == 0 {
		wanted = []string{n.app.Management()}
	}
	for _, name := range mounts {
		if !slices.Contains(wanted, name) {
			continue
		}
		var h http.Handler
		var err error
		patterns := paysway.Patterns()
		if name == "paysway" {
			h, err = paysway.New(paysway.Options{Service: n.app, Log: n.apiLog, Refused: n.counts.refuse, Limit: n.cfg.SubscriptionLimit})
		} else {
			h, err = paywise.New(paywise.Options{Service: n.app, Log: n.apiLog, Refused: n.counts.refuse})
			patterns = paywise.Patterns()
		}
		if err != nil {
			return fmt.Errorf("--mount %s: %w", name, err)
		}
		for _, pattern := range patterns {
			n.mux.Handle(pattern, h)
		}
		n.log.Info("management API", "mount", name)
	}
	return nil
}
