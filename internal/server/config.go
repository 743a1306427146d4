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

// Config is everything that an operator can set. Its flags define the options: the name of
// a flag gives the variable (POSTHORN_ALLOW_HTTP) and the member of the file (allow_http).
type Config struct {
	Listen            string
	MetricsListen     string
	MetricsSeries     int
	Tracer            Tracer // nil: nothing is traced; not an option
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
	RetentionPayloads time.Duration
	RetentionAnswers  time.Duration
	DiskBudget        size
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
	PortalURL         string
	PortalOrigin      []string
	TenantBacklog     int
	RequestBodyMiB    int
	HeapHeadroomMiB   int
	AllowReveal       bool
	UI                bool
	UIPayloads        string
	PublicJWKS        bool
	Alerts            alertOptions

	networks []netip.Prefix    // AllowNetwork, parsed
	ownHosts []string          // of PublicURL
	flags    *pflag.FlagSet    // that set the options
	from     map[string]string // by flag: the variable or the line of the file that set it
	targets  targets           // the other options about where deliveries may go
}

// allowed are the values of options with a fixed set of values.
var allowed = map[string][]string{
	"synchronous": {"full", "normal", "off"},
	"log-level":   {"debug", "info", "warn", "error"},
	"log-format":  {"auto", "json", "text"},
	"ui-payloads": {"shown", "asked", "never"},
}

// Flags sets the defaults and returns the flags that change them.
func (c *Config) Flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.flags = f
	f.StringVar(&c.Listen, "listen", "127.0.0.1:8080", "listen address of the API")
	f.IntVar(&c.MetricsSeries, "metrics-series", 0, "tenants and endpoints with metrics of their own, up to 10000 each, the rest as \"other\"; 0 for none")
	f.StringVar(&c.MetricsListen, "metrics-listen", "", "listen address of the Prometheus endpoint /metrics (default none)")
	f.StringVar(&c.Data, "data", "./posthorn-data", "data directory, with the database and the generated master key")
	f.StringVar(&c.Store, "store", "", "sqlite:PATH, or postgres://USER:PASSWORD@HOST/DATABASE for several nodes (default posthorn.db in the data directory)")
	duration.Var(f, &c.NodeLease, "node-lease", 10*time.Second, "on PostgreSQL, time without a heartbeat after which other nodes take over the work of a node")
	f.StringVar(&c.Profile, "profile", "standard", "default profile (wire format) of endpoints")
	f.StringVar(&c.ProfileDir, "profile-dir", "", "directory with additional profiles (*.yaml)")
	f.StringSliceVar(&c.Mount, "mount", nil, "comma-separated management APIs to serve besides the native one: paysway, paywise, svix, or none (default that of --profile)")
	f.IntVar(&c.SubscriptionLimit, "paysway-subscription-limit", 20, "maximum subscriptions per tenant through the PaySway API; 0 for no limit")
	f.StringVar(&c.OperatorKey, "operator-key", "", "bootstrap operator key for live mode: 32 to 200 printable ASCII characters")
	f.StringVar(&c.OperatorTestKey, "operator-test-key", "", "bootstrap operator key for test mode: 32 to 200 printable ASCII characters")
	f.StringVar(&c.MasterKeyFile, "master-key-file", "", "file with the master key that encrypts secrets (default master.key in the data directory, created at first start)")
	f.StringVar(&c.MasterKeyCommand, masterKeyCommandFlag, "", "shell command that prints the master key, for example from a KMS; replaces --master-key-file")
	f.BoolVar(&c.AllowHTTP, "allow-http", false, "allow endpoints with http:// URLs")
	f.StringSliceVar(&c.AllowNetwork, "allow-network", nil, "comma-separated private networks (CIDR) that deliveries may be sent to")
	f.StringSliceVar(&c.AllowHost, "allow-host", nil, "comma-separated non-public host names, such as app.internal or *.svc.cluster.local, that deliveries may be sent to; private addresses also need --allow-network")
	f.StringSliceVar(&c.DenyNetwork, "deny-network", nil, "comma-separated networks (CIDR) that deliveries are never sent to; overrides --allow-network and --allow-host")
	f.StringSliceVar(&c.DenyHost, "deny-host", nil, "comma-separated host names, such as proxy.example or *.corp.example, that deliveries are never sent to; overrides --allow-host")
	f.StringSliceVar(&c.CAFile, "ca-file", nil, "comma-separated PEM files with CA certificates to trust for receivers, in addition to those of the system")
	f.StringVar(&c.ClientCert, "client-cert", "", "PEM file with the client certificate and its intermediates, for receivers that request one")
	f.StringVar(&c.ClientKey, "client-key", "", "PEM file with the private key of --client-cert; must not be readable by other users")
	f.StringVar(&c.EgressProxy, "egress-proxy", "", "HTTP CONNECT proxy for all deliveries, http://[USER:PASSWORD@]HOST:PORT or https://...; addresses are checked before the proxy connects")
	f.BoolVar(&c.EgressProxyPlain, "egress-proxy-plain", false, "allow an http:// proxy at a public address")
	duration.Var(f, &c.ConnectionMaxAge, "connection-max-age", 5*time.Minute, "maximum age of a reused connection, up to a fifth less, so that DNS changes take effect; 0 for no limit")
	f.BoolVar(&c.Dev, "dev", false, "development mode: allow http, loopback addresses and localhost")
	f.BoolVar(&c.CreateTenants, "create-tenants", false, "create unknown tenants when an event is published to them")
	f.StringVar(&c.Synchronous, "synchronous", "full", "when the database waits for the disk: full, normal or off; only full keeps all acknowledged events after a power failure")
	duration.Var(f, &c.DrainDelay, "drain-delay", 0, "time after SIGTERM during which requests are accepted but /readyz fails, so that load balancers stop sending traffic")
	duration.Var(f, &c.ShutdownTimeout, "shutdown-timeout", 35*time.Second, "time for attempts in progress to finish at shutdown")
	duration.Var(f, &c.HeldFor, "held-for", 30*24*time.Hour, "time that deliveries for a disabled endpoint are held before they fail")
	duration.Var(f, &c.AuditRetention, "audit-retention", 400*24*time.Hour, "time that entries of the audit log are kept; 0 to keep them forever")
	duration.Var(f, &c.Retention, "retention", 90*24*time.Hour, "time that events are kept after their last delivery has ended, or after acceptance if they have none; 0 to keep them forever")
	duration.Var(f, &c.RetentionPayloads, "retention-payloads", 30*24*time.Hour, "time that the data of events is kept after their last delivery has ended; 0 to keep it as long as the event")
	duration.Var(f, &c.RetentionAnswers, "retention-answers", 30*24*time.Hour, "time that responses of receivers are kept after the attempt; 0 to keep them as long as the event")
	f.Var(&c.DiskBudget, "disk-budget", "size of the store beyond which publishing is rejected, with a unit, such as 20GB or 20GiB; 0 for no limit")
	f.StringVar(&c.LogLevel, "log-level", "info", "log level: debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "auto", "log format: json, text, or auto (text on a terminal)")
	f.IntVar(&c.Fast, "fast-attempts", 1024, "maximum concurrent attempts that are not known to be slow")
	f.IntVar(&c.Slow, "slow-attempts", 2048, "maximum concurrent attempts that have been open longer than a second")
	f.IntVar(&c.FastPerTenant, "fast-attempts-per-tenant", 256, "maximum concurrent fast attempts per tenant")
	f.IntVar(&c.InFlight, "max-in-flight", 64, "maximum concurrent attempts per endpoint, unless the endpoint sets its own limit")
	f.IntVar(&c.HostInFlight, "host-in-flight", 512, "maximum concurrent attempts per host across all tenants, half of them for attempts open longer than a second; four times as many per address; 0 for no limit")
	f.Float64Var(&c.HostRate, "host-rate", 2000, "maximum attempts started per second per host across all tenants; four times as many per address; 0 for no limit")
	f.Float64Var(&c.PublishRate, "publish-rate", 0, "maximum events published per second per key; 0 for no limit")
	c.Calls.flags(f)
	f.StringSliceVar(&c.PublicURL, "public-url", nil, "comma-separated public URLs of this API; their hosts are rejected as endpoints, and the first is that of links to the pages")
	f.StringVar(&c.PortalURL, "portal-url", "", "URL of a host of its own for the customer portal, such as https://webhooks.example.com; /portal/ answers only there, and /ui/ and the API never")
	f.StringSliceVar(&c.PortalOrigin, "portal-origin", nil, "comma-separated origins whose pages may show the customer portal in a frame, such as https://app.example.com; empty for those that each session names")
	f.IntVar(&c.TenantBacklog, "tenant-backlog", 1_000_000, "maximum open deliveries per tenant and mode, beyond which publishing is rejected; 0 for no limit")
	f.IntVar(&c.RequestBodyMiB, "request-body-mib", 64, "maximum size of all concurrent request bodies in MiB, 16 to 65536, beyond which requests are rejected; a tenant or key gets a quarter")
	f.IntVar(&c.HeapHeadroomMiB, "heap-headroom-mib", 32, "by how much the heap may grow between two garbage collections, in MiB, 4 to 65536; 0 for Go's default; GOGC in the environment overrides it")
	f.BoolVar(&c.AllowReveal, "allow-reveal", false, "allow operator and tenant keys to show signing secrets again; every use is logged")
	f.BoolVar(&c.UI, "ui", true, "serve the pages for operators under /ui/ and the customer portal under /portal/ on the API's address")
	f.StringVar(&c.UIPayloads, "ui-payloads", "shown", "when the pages for operators show payloads and the answers of receivers: shown, asked (after a press of a button) or never; each view is in the audit log")
	f.BoolVar(&c.PublicJWKS, "public-jwks", false, "publish the public keys of ed25519 endpoints at /.well-known/webhook-keys/TENANT/jwks.json")
	c.Alerts.flags(f)
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

// givenAs names where an option was set: the flag, the variable, or the line of the file.
func (c *Config) givenAs(flag string) string { return cmp.Or(c.from[flag], "--"+flag) }

func envName(flag string) string {
	return "POSTHORN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// loadEnv sets the flags that were not given from variables, and records the variables in
// from.
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

// UnknownVariables returns the variables that look like an option but are none, such as
// one with a typo, each with a suggestion.
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

// loadFile sets the flags that have no value yet from a file, and records the lines in
// from. It returns an error that makes the whole file unusable; errors of single members
// are added to the faults.
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
			all.addf("%s:%d: option %q is set twice", path, key.Line, key.Value)
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

// setOption sets an option, or leaves it unchanged, so that an invalid value is reported
// only once.
func setOption(f *pflag.FlagSet, flag *pflag.Flag, value string) error {
	before := flag.Value.String()
	err := f.Set(flag.Name, value)
	if _, list := flag.Value.(pflag.SliceValue); err != nil && !list {
		_ = flag.Value.Set(before) // a value that it formatted itself
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

// Check returns an error for invalid values, which names the option as it was given and
// what is allowed.
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
		all.add(wrong(masterKeyCommandFlag, "the master key is also set by a file or a variable; use only one"))
	}
	for name, value := range map[string]string{"listen": c.Listen, "metrics-listen": c.MetricsListen} {
		if value == "" && name == "metrics-listen" {
			continue
		}
		if _, _, err := net.SplitHostPort(value); err != nil {
			all.add(wrong(name, "%q is not an address such as 127.0.0.1:8080", value))
		}
	}
	if c.MetricsSeries < 0 || c.MetricsSeries > maxSeries {
		all.add(wrong("metrics-series", "%d is not from 0 to %d", c.MetricsSeries, maxSeries))
	}
	c.checkTargets(all)
	var err error
	c.ownHosts, err = publicHosts(c.PublicURL)
	all.add(err)
	c.checkPortal(all)
	for name, key := range map[string]string{"operator-key": c.OperatorKey, "operator-test-key": c.OperatorTestKey} {
		if key != "" && !usableKey(key) {
			all.add(wrong(name, "must be 32 to 200 printable ASCII characters without spaces, has %d", len(key)))
		}
		if repeats(key) && !c.Dev {
			all.add(wrong(name, "repeats a short text, as examples do, so anybody can guess it; generate one with \"openssl rand -hex 32\" (only --dev accepts such a key)"))
		}
	}
	if c.OperatorKey != "" && c.OperatorKey == c.OperatorTestKey {
		all.add(wrong("operator-test-key", "must differ from --operator-key, because the key decides the mode"))
	}
	if c.Store != "" && !strings.HasPrefix(c.Store, "sqlite:") && !c.postgres() {
		all.add(wrong("store", "must be sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE; got %q", StoreScheme(c.Store)))
	}
	all.add(c.checkMounts())
	if c.Store == "sqlite:" {
		all.add(wrong("store", "sqlite: needs a path, such as sqlite:/var/lib/posthorn/posthorn.db"))
	}
	c.Alerts.check(all)
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
	if c.HeapHeadroomMiB != 0 && (c.HeapHeadroomMiB < 4 || c.HeapHeadroomMiB > 64<<10) {
		all.add(wrong("heap-headroom-mib", "%d is neither 0 (Go's default) nor between 4 and 65536", c.HeapHeadroomMiB))
	}
	if c.NodeLease < 2*time.Second || c.NodeLease > 5*time.Minute {
		all.add(wrong("node-lease", "%v is not between 2s and 5m", c.NodeLease))
	}
	if c.HeldFor < time.Hour {
		all.add(wrong("held-for", "%s is less than 1h", duration.Format(c.HeldFor)))
	}
	if c.AuditRetention != 0 && c.AuditRetention < 24*time.Hour {
		all.add(wrong("audit-retention", "%s is less than 24h; 0 keeps entries forever", duration.Format(c.AuditRetention)))
	}
	c.checkDisk(all)
	if c.Retention != 0 && c.Retention < 24*time.Hour {
		all.add(wrong("retention", "%s is less than 24h; 0 keeps events forever", duration.Format(c.Retention)))
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

// ShowConfig writes the configuration as a file that can be loaded again, except for the
// secrets, which are masked.
func ShowConfig(w io.Writer, f *pflag.FlagSet) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "config" && flag.Name != "help" {
			fmt.Fprintf(w, "%s: %s\n", strings.ReplaceAll(flag.Name, "-", "_"), shownOption(flag, true))
		}
	})
}

// shownOption returns the value of an option, with secrets masked, as YAML or for people.
func shownOption(flag *pflag.Flag, yaml bool) string {
	value := flag.Value.String()
	if flag.Name == "store" && strings.HasPrefix(value, "postgres") {
		value = "postgres://***" // it may hold a password
	} else if flag.Name == "egress-proxy" && value != "" {
		value = maskedProxy(value)
	} else if exit.SecretFlags[flag.Name] && flag.Name != "store" && value != "" {
		value = "***"
	}
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		if !yaml {
			return strings.Join(list.GetSlice(), ", ")
		}
		return "[" + strings.Join(list.GetSlice(), ", ") + "]"
	} else if flag.Value.Type() == "string" && yaml {
		value = fmt.Sprintf("%q", value)
	}
	return value
}

// options calls show for each option, with secrets masked, and where it was set; empty: it
// has its default.
func (c *Config) options(show func(name, value, source string)) {
	if c.flags == nil {
		return
	}
	c.flags.VisitAll(func(flag *pflag.Flag) {
		source := c.from[flag.Name]
		if source == "" && flag.Changed {
			source = "the command line"
		}
		if flag.Name != "config" && flag.Name != "help" {
			show(flag.Name, shownOption(flag, false), source)
		}
	})
}

// ConfigFlags adds the options to a command and returns a function that loads them.
func ConfigFlags(cmd *cobra.Command) func() (*Config, error) {
	c := &Config{}
	f := c.Flags()
	cmd.Flags().AddFlagSet(f)
	file := cmd.Flags().String("config", "", "YAML file with options, name: value (POSTHORN_CONFIG)")
	return func() (*Config, error) {
		warnings := onCommandLine(f)
		if err := c.Load(f, *file); err != nil {
			return nil, err
		}
		for _, name := range UnknownVariables(f, os.Environ()) {
			warnings = append(warnings, name+" is set but is not an option")
		}
		for _, warning := range append(warnings, c.easyKeys()...) {
			fmt.Fprintln(cmd.ErrOrStderr(), "posthorn: warning: "+warning)
		}
		return c, nil
	}
}
