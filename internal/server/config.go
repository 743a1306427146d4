package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
)

// Config is everything an operator can set. Its flags are the one table of
// options: the name of a flag gives the variable (POSTHORN_ALLOW_HTTP) and the
// member of the file (allow_http).
type Config struct {
	Listen            string
	MetricsListen     string
	Data              string
	Store             string
	NodeLease         time.Duration
	Profile           string
	ProfileDir        string
	Mount             []string
	OperatorKey       string
	OperatorTestKey   string
	MasterKeyFile     string
	MasterKeyCommand  string
	AllowHTTP         bool
	AllowNetwork      []string
	AllowHost         []string
	DenyNetwork       []string
	DenyHost          []string
	CAFile            []string
	ClientCert        string
	ClientKey         string
	EgressProxy       string
	EgressProxyPlain  bool
	ConnectionMaxAge  time.Duration
	Dev               bool
	CreateTenants     bool
	Synchronous       string
	DrainDelay        time.Duration
	ShutdownTimeout   time.Duration
	HeldFor           time.Duration
	Retention         time.Duration
	AuditRetention    time.Duration
	LogLevel          string
	LogFormat         string
	Fast              int
	Slow              int
	FastPerTenant     int
	InFlight          int
	HostInFlight      int
	HostRate          float64
	SubscriptionLimit int
	PublishRate       float64
	Calls             callLimits
	PublicURL         []string
	TenantBacklog     int
	RequestBodyMiB    int
	AllowReveal       bool
	PublicJWKS        bool

	networks []netip.Prefix    // AllowNetwork, parsed
	ownHosts []string          // of PublicURL
	from     map[string]string // by flag: the variable or the line of the file that its value came from
	targets  targets           // the other options about where deliveries may go
}

// allowed are the values of options that have a fixed list.
var allowed = map[string][]string{
	"synchronous": {"full", "normal", "off"},
	"log-level":   {"debug", "info", "warn", "error"},
	"log-format":  {"auto", "json", "text"},
}

// Flags sets the defaults, and returns the flags that change them.
func (c *Config) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.StringVar(&c.Listen, "listen", "127.0.0.1:8080", "address of the API")
	f.StringVar(&c.MetricsListen, "metrics-listen", "", "address of the Prometheus page /metrics; empty: none")
	f.StringVar(&c.Data, "data", "./posthorn-data", "data directory: database and generated master key")
	f.StringVar(&c.Store, "store", "", "sqlite:PATH, or postgres://USER:PASSWORD@HOST/DATABASE for several nodes; empty: posthorn.db in the data directory")
	duration.Var(f, &c.NodeLease, "node-lease", 10*time.Second, "on PostgreSQL, how long after its last sign of life a node counts as dead and others take over its work")
	f.StringVar(&c.Profile, "profile", "standard", "wire format of endpoints that name none")
	f.StringVar(&c.ProfileDir, "profile-dir", "", "directory with further profiles (*.yaml)")
	f.StringSliceVar(&c.Mount, "mount", nil, "management APIs served beside the native one: paysway, paywise, or none; empty: that of --profile")
	f.IntVar(&c.SubscriptionLimit, "paysway-subscription-limit", 20, "subscriptions a tenant may make through PaySway's API; 0: any number")
	f.StringVar(&c.OperatorKey, "operator-key", "", "bootstrap operator key for live mode, 32 to 200 printable ASCII characters")
	f.StringVar(&c.OperatorTestKey, "operator-test-key", "", "bootstrap operator key for test mode")
	f.StringVar(&c.MasterKeyFile, "master-key-file", "", "file with the master key that seals secrets; empty: master.key in the data directory, made at first start")
	f.StringVar(&c.MasterKeyCommand, masterKeyCommandFlag, "", "command for /bin/sh that prints the master key, such as one that asks a KMS; in place of a file")
	f.BoolVar(&c.AllowHTTP, "allow-http", false, "admit endpoints with http:// URLs")
	f.StringSliceVar(&c.AllowNetwork, "allow-network", nil, "private networks (CIDR, comma separated) that deliveries may go to")
	f.StringSliceVar(&c.AllowHost, "allow-host", nil, "names that are not public (app.internal, *.svc.cluster.local, comma separated) that deliveries may go to; their addresses are judged as ever, so --allow-network has to admit them")
	f.StringSliceVar(&c.DenyNetwork, "deny-network", nil, "networks (CIDR, comma separated) that deliveries may not go to, whatever is allowed")
	f.StringSliceVar(&c.DenyHost, "deny-host", nil, "host names (proxy.example, *.corp.example, comma separated) that deliveries may not go to, whatever is allowed")
	f.StringSliceVar(&c.CAFile, "ca-file", nil, "PEM files (comma separated) with authorities that certificates of receivers may come from, beside those of the system")
	f.StringVar(&c.ClientCert, "client-cert", "", "PEM file with the certificate for receivers that ask for one, and its intermediates")
	f.StringVar(&c.ClientKey, "client-key", "", "PEM file with the key of --client-cert, which others must not be able to read")
	f.StringVar(&c.EgressProxy, "egress-proxy", "", "http://[USER:PASSWORD@]HOST:PORT or https://... of a proxy (CONNECT) that all deliveries go through; addresses are judged before it is asked")
	f.BoolVar(&c.EgressProxyPlain, "egress-proxy-plain", false, "let an http:// proxy have a public address")
	duration.Var(f, &c.ConnectionMaxAge, "connection-max-age", 5*time.Minute, "how old a kept connection may be when an attempt begins on it, up to a fifth less, so that a name that moved is noticed; 0: any age")
	f.BoolVar(&c.Dev, "dev", false, "for development: admit http, loopback addresses and localhost")
	f.BoolVar(&c.CreateTenants, "create-tenants", false, "create an unknown tenant when an event is published to it")
	f.StringVar(&c.Synchronous, "synchronous", "full", "when the database waits for the disk: full, normal or off; anything but full loses acknowledged events at a power cut")
	duration.Var(f, &c.DrainDelay, "drain-delay", 0, "at SIGTERM, how long requests are still accepted while /readyz says no, so that a load balancer goes elsewhere first")
	duration.Var(f, &c.ShutdownTimeout, "shutdown-timeout", 35*time.Second, "how long attempts under way may take to finish at SIGTERM")
	duration.Var(f, &c.HeldFor, "held-for", 30*24*time.Hour, "how long deliveries that wait for a disabled endpoint are held before they fail")
	duration.Var(f, &c.AuditRetention, "audit-retention", 400*24*time.Hour, "how long entries of the audit log are kept; 0: for ever")
	duration.Var(f, &c.Retention, "retention", 90*24*time.Hour, "how long events are kept after they were accepted and all their deliveries ended; 0: for ever")
	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "auto", "json, text, or auto: text on a terminal")
	f.IntVar(&c.Fast, "fast-attempts", 1024, "attempts under way at once that are not known to be slow")
	f.IntVar(&c.Slow, "slow-attempts", 2048, "attempts under way at once that have been open longer than a second")
	f.IntVar(&c.FastPerTenant, "fast-attempts-per-tenant", 256, "of the fast attempts, the most of one tenant")
	f.IntVar(&c.InFlight, "max-in-flight", 64, "attempts under way at once to one endpoint, unless it sets its own")
	f.IntVar(&c.HostInFlight, "host-in-flight", 512, "attempts under way at once to one host over all tenants, half of them for those open longer than a second; four times as many to one address; 0: no limit")
	f.Float64Var(&c.HostRate, "host-rate", 2000, "attempts a second that begin to one host over all tenants, four times as many to one address; 0: no limit")
	f.Float64Var(&c.PublishRate, "publish-rate", 0, "events a second that one key may publish; 0: no limit")
	c.Calls.flags(f)
	f.StringSliceVar(&c.PublicURL, "public-url", nil, "URLs under which callers reach this API (comma separated); their hosts are refused as endpoints")
	f.IntVar(&c.TenantBacklog, "tenant-backlog", 1_000_000, "open deliveries of one tenant in one mode, beyond which publishing to it is refused; 0: no limit")
	f.IntVar(&c.RequestBodyMiB, "request-body-mib", 64, "MiB of request bodies under way at once, 16 to 65536, beyond which requests are refused; one tenant or key gets a quarter")
	f.BoolVar(&c.AllowReveal, "allow-reveal", false, "let operator and tenant keys see signing secrets again; every use is logged")
	f.BoolVar(&c.PublicJWKS, "public-jwks", false, "show the public keys of endpoints that sign with ed25519 to everybody, at /.well-known/webhook-keys/TENANT/jwks.json")
	for _, name := range filledLists {
		flag := f.Lookup(name)
		if list, ok := flag.Value.(listValue); ok {
			flag.Value = filledList{list}
		}
	}
	return f
}

// Load fills the configuration: flags, then environment, then the file, then defaults.
func (c *Config) Load(f *pflag.FlagSet, file string) error {
	c.from = map[string]string{}
	var all Faults
	loadEnv(f, c.from, &all)
	if file == "" {
		file = os.Getenv("POSTHORN_CONFIG")
	}
	if file != "" {
		all.add(loadFile(f, file, c.from, &all))
	}
	all.add(c.Check())
	return all.err()
}

// givenAs names an option as it was given: the flag, the variable, or the line of the file.
func (c *Config) givenAs(flag string) string { return cmp.Or(c.from[flag], "--"+flag) }

func envName(flag string) string {
	return "POSTHORN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// loadEnv sets the flags that were not given from variables, and notes in from which.
func loadEnv(f *pflag.FlagSet, from map[string]string, all *Faults) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed {
			return
		}
		name := envName(flag.Name)
		value, ok := os.LookupEnv(name)
		if path := os.Getenv(name + "_FILE"); !ok && exit.SecretFlags[flag.Name] && path != "" {
			text, err := os.ReadFile(path)
			if err != nil {
				all.addf("%s_FILE: %w", name, err)
				return
			}
			name, value, ok = name+"_FILE", strings.TrimRight(string(text), "\r\n"), true
			if value == "" {
				all.addf("%s: %s is empty", name, path)
				return
			}
		}
		if !ok {
			return
		}
		if err := setOption(f, flag, value); err != nil {
			all.add(exit.RefusedValue(name, err))
		}
		from[flag.Name] = name
	})
}

// otherVariables are read by commands other than serve, or by tests and scripts.
var otherVariables = []string{"POSTHORN_URL", "POSTHORN_KEY", "POSTHORN_KEY_FILE", "POSTHORN_CONTEXT", "POSTHORN_ALLOW_PLAIN_HTTP", "POSTHORN_CONFIG", masterKeyVariable, "POSTHORN_BIN", "POSTHORN_TEST_LOGS"}

// UnknownVariables are those that look like an option and are none, such as one
// with a typing error, with what was perhaps meant.
func UnknownVariables(f *pflag.FlagSet, environment []string) []string {
	known := slices.Clone(otherVariables)
	f.VisitAll(func(flag *pflag.Flag) {
		known = append(known, envName(flag.Name))
		if exit.SecretFlags[flag.Name] {
			known = append(known, envName(flag.Name)+"_FILE")
		}
	})
	var unknown []string
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "POSTHORN_") || slices.Contains(known, name) {
			continue
		}
		if strings.HasPrefix(name, "POSTHORN_PORT") || strings.HasPrefix(name, "POSTHORN_SERVICE_") {
			continue // Kubernetes sets these for a service named posthorn
		}
		if best := exit.Nearest(name, known); best != "" {
			name += " (did you mean " + best + "?)"
		}
		unknown = append(unknown, name)
	}
	return unknown
}

// loadFile sets the flags that have no value yet from a file, and notes in from of
// which line. It returns what makes the whole file unusable; what is wrong with one member
// is added to the faults.
func loadFile(f *pflag.FlagSet, path string, from map[string]string, all *Faults) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return exit.Usagef("--config: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return exit.Usagef("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return exit.Usagef("%s:%d: the file must be a list of \"name: value\"", path, top.Line)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		name := strings.ReplaceAll(key.Value, "_", "-")
		flag := f.Lookup(name)
		if flag == nil || strings.Contains(key.Value, "-") {
			all.addf("%s:%d: unknown option %q%s", path, key.Line, key.Value, didYouMean(name, f))
			continue
		}
		if seen[name] {
			all.addf("%s:%d: option %q stands twice", path, key.Line, key.Value)
			continue
		}
		seen[name] = true
		given, err := yamlValue(value)
		if err != nil {
			all.addf("%s:%d: %s: %w", path, value.Line, key.Value, err)
			continue
		}
		if _, list := flag.Value.(pflag.SliceValue); flag.Changed || from[name] != "" || list && value.Kind == yaml.SequenceNode && len(value.Content) == 0 {
			continue // a list without entries is the default
		}
		from[name] = fmt.Sprintf("%s:%d: %s", path, value.Line, key.Value)
		if err := setOption(f, flag, given); err != nil {
			all.add(exit.RefusedValue(from[name], err))
		}
	}
	return nil
}

// setOption sets an option, or leaves it as it was: a value that cannot be read is one fault,
// and not a second one for what stands in its place.
func setOption(f *pflag.FlagSet, flag *pflag.Flag, value string) error {
	before := flag.Value.String()
	err := f.Set(flag.Name, value)
	if _, list := flag.Value.(pflag.SliceValue); err != nil && !list {
		_ = flag.Value.Set(before) // what it wrote itself
	}
	return err
}

func yamlValue(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("must be a list of plain values")
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("must be a plain value or a list of them")
}

func didYouMean(name string, f *pflag.FlagSet) string {
	if best := exit.Nearest(name, exit.FlagNames(f)); best != "" {
		return fmt.Sprintf("; did you mean %s?", strings.ReplaceAll(best, "-", "_"))
	}
	return ""
}

// Check refuses values that cannot work and names the option, as it was given, and what
// is allowed.
func (c *Config) Check() error {
	var found, all Faults
	c.checkOptions(&found)
	for _, err := range found {
		if e, ok := errors.AsType[*optionError](err); ok {
			err = fmt.Errorf("%s: %w", c.givenAs(e.flag), e.err)
		}
		all.add(err)
	}
	return all.err()
}

func (c *Config) checkOptions(all *Faults) {
	for name, value := range map[string]string{"synchronous": c.Synchronous, "log-level": c.LogLevel, "log-format": c.LogFormat} {
		if !slices.Contains(allowed[name], value) {
			all.add(wrong(name, "%q is not one of %s", value, strings.Join(allowed[name], ", ")))
		}
	}
	if c.MasterKeyCommand != "" && (c.MasterKeyFile != "" || os.Getenv(masterKeyVariable) != "") {
		all.add(wrong(masterKeyCommandFlag, "the master key comes from a file or a variable already; give one of them"))
	}
	for name, value := range map[string]string{"listen": c.Listen, "metrics-listen": c.MetricsListen} {
		if value == "" && name == "metrics-listen" {
			continue
		}
		if _, _, err := net.SplitHostPort(value); err != nil {
			all.add(wrong(name, "%q is not an address such as 127.0.0.1:8080", value))
		}
	}
	c.checkTargets(all)
	var err error
	c.ownHosts, err = publicHosts(c.PublicURL)
	all.add(err)
	for name, key := range map[string]string{"operator-key": c.OperatorKey, "operator-test-key": c.OperatorTestKey} {
		if key != "" && !usableKey(key) {
			all.add(wrong(name, "must be 32 to 200 printable ASCII characters without spaces, has %d", len(key)))
		}
		if repeats(key) && !c.Dev {
			all.add(wrong(name, "repeats a short text, as examples do, so everybody can guess it; make one with \"openssl rand -hex 32\" (only --dev takes such a key)"))
		}
	}
	if c.OperatorKey != "" && c.OperatorKey == c.OperatorTestKey {
		all.add(wrong("operator-test-key", "must differ from --operator-key, for the key decides the mode"))
	}
	if c.Store != "" && !strings.HasPrefix(c.Store, "sqlite:") && !c.postgres() {
		all.add(wrong("store", "must be sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE; got %q", StoreScheme(c.Store)))
	}
	all.add(c.checkMounts())
	if c.Store == "sqlite:" {
		all.add(wrong("store", "sqlite: needs a path, such as sqlite:/var/lib/posthorn/posthorn.db"))
	}
	c.checkNumbers(all)
}

func (c *Config) checkNumbers(all *Faults) {
	for name, n := range map[string]int{"fast-attempts": c.Fast, "slow-attempts": c.Slow, "fast-attempts-per-tenant": c.FastPerTenant, "max-in-flight": c.InFlight} {
		if n < 1 || n > 100_000 {
			all.add(wrong(name, "%d is not between 1 and 100000", n))
		}
	}
	if c.ConnectionMaxAge != 0 && (c.ConnectionMaxAge < time.Second || c.ConnectionMaxAge > 24*time.Hour) {
		all.add(wrong("connection-max-age", "%v is neither 0s (any age) nor between 1s and 24h", c.ConnectionMaxAge))
	}
	if c.DrainDelay < 0 || c.DrainDelay > 10*time.Minute {
		all.add(wrong("drain-delay", "%v is not between 0s and 10m", c.DrainDelay))
	}
	if c.ShutdownTimeout < 0 || c.ShutdownTimeout > time.Hour {
		all.add(wrong("shutdown-timeout", "%v is not between 0s and 1h", c.ShutdownTimeout))
	}
	checkRates(all, map[string]float64{"publish-rate": c.PublishRate})
	c.Calls.check(all)
	if c.HostInFlight != 0 && (c.HostInFlight < 2 || c.HostInFlight > 100_000) {
		all.add(wrong("host-in-flight", "%d is neither 0 (no limit) nor between 2 and 100000", c.HostInFlight))
	}
	if c.HostRate != 0 && !(c.HostRate >= 1 && c.HostRate <= 1e6) {
		all.add(wrong("host-rate", "%v is neither 0 (no limit) nor between 1 and 1000000", c.HostRate))
	}
	if c.TenantBacklog < 0 {
		all.add(wrong("tenant-backlog", "%d is less than 0", c.TenantBacklog))
	}
	if c.RequestBodyMiB < 16 || c.RequestBodyMiB > 64<<10 {
		all.add(wrong("request-body-mib", "%d is not between 16 and 65536", c.RequestBodyMiB))
	}
	if c.NodeLease < 2*time.Second || c.NodeLease > 5*time.Minute {
		all.add(wrong("node-lease", "%v is not between 2s and 5m", c.NodeLease))
	}
	if c.HeldFor < time.Hour {
		all.add(wrong("held-for", "%s is less than 1h", duration.Format(c.HeldFor)))
	}
	if c.AuditRetention != 0 && c.AuditRetention < 24*time.Hour {
		all.add(wrong("audit-retention", "%s is less than 24h; 0 keeps entries for ever", duration.Format(c.AuditRetention)))
	}
	if c.Retention != 0 && c.Retention < 24*time.Hour {
		all.add(wrong("retention", "%s is less than 24h; 0 keeps events for ever", duration.Format(c.Retention)))
	}
}

// postgres reports whether the store is a PostgreSQL database.
func (c *Config) postgres() bool {
	return strings.HasPrefix(c.Store, "postgres://") || strings.HasPrefix(c.Store, "postgresql://")
}

func usableKey(key string) bool {
	if len(key) < 32 || len(key) > 200 {
		return false
	}
	return !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
}

// ShowConfig writes the configuration as a file that could be loaded again, but for the
// secrets, which are masked.
func ShowConfig(w io.Writer, f *pflag.FlagSet) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "config" || flag.Name == "help" {
			return
		}
		value := flag.Value.String()
		if flag.Name == "store" && strings.HasPrefix(value, "postgres") {
			value = "postgres://***" // it may hold a password
		} else if flag.Name == "egress-proxy" && value != "" {
			value = maskedProxy(value)
		} else if exit.SecretFlags[flag.Name] && flag.Name != "store" && value != "" {
			value = "***"
		}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			value = "[" + strings.Join(list.GetSlice(), ", ") + "]"
		} else if flag.Value.Type() == "string" {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(w, "%s: %s\n", strings.ReplaceAll(flag.Name, "-", "_"), value)
	})
}

// ConfigFlags adds the options to a command and returns the loader to call in it.
func ConfigFlags(cmd *cobra.Command) func() (*Config, error) {
	c := &Config{}
	f := c.Flags()
	cmd.Flags().AddFlagSet(f)
	file := cmd.Flags().String("config", "", "file with options as YAML (name: value)")
	return func() (*Config, error) {
		warnings := onCommandLine(f)
		if err := c.Load(f, *file); err != nil {
			return nil, err
		}
		for _, name := range UnknownVariables(f, os.Environ()) {
			warnings = append(warnings, name+" is set and has no meaning")
		}
		for _, warning := range append(warnings, c.easyKeys()...) {
			fmt.Fprintln(cmd.ErrOrStderr(), "posthorn: warning: "+warning)
		}
		return c, nil
	}
}
