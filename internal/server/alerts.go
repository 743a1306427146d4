package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/threshold"
)

// alertOptions are the options about operational events.
type alertOptions struct {
	SMTPURL  string
	SMTPFrom string
	SMTPTo   []string
	Backlog  int
	Delay    time.Duration
	Disk     float64

	server *mail.Server // of SMTPURL; nil: no mail
}

func (o *alertOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.SMTPURL, "smtp-url", "", "SMTP server for operational events by e-mail: smtp://[USER:PASSWORD@]HOST[:587] with STARTTLS, or smtps://...; \"?tls=none\" for a server on a trusted network")
	f.StringVar(&o.SMTPFrom, "smtp-from", "", "sender address of e-mails")
	f.StringSliceVar(&o.SMTPTo, "smtp-to", nil, "comma-separated e-mail addresses that get the operational events of live mode; endpoints for other choices are made with \"posthorn endpoint create --operational\"")
	f.IntVar(&o.Backlog, "alert-backlog", 50_000, "deliveries waiting in memory above which posthorn.threshold.exceeded is published, up to 100000; 0 for never")
	duration.Var(f, &o.Delay, "alert-delay", 5*time.Minute, "delay of first attempts (90th percentile) above which posthorn.threshold.exceeded is published; 0 for never")
	f.Float64Var(&o.Disk, "alert-disk", 90, "percentage of the data directory's file system in use above which posthorn.threshold.exceeded is published; 0 for never")
}

func (o *alertOptions) check(all *Faults) {
	o.server = nil
	if o.SMTPURL != "" {
		var err error
		if o.server, err = mail.ParseServer(o.SMTPURL); err != nil {
			all.add(wrong("smtp-url", "%w", err))
		}
	}
	switch _, _, ok := hook.CheckMailAddress(o.SMTPFrom); {
	case o.SMTPURL == "" && o.SMTPFrom != "":
		all.add(wrong("smtp-from", "--smtp-url is missing, the mail server"))
	case o.SMTPURL != "" && o.SMTPFrom == "":
		all.add(wrong("smtp-url", "--smtp-from is missing, the sender of e-mails"))
	case o.SMTPFrom != "" && !ok:
		all.add(wrong("smtp-from", "%q is not one plain e-mail address such as posthorn@example.com", o.SMTPFrom))
	}
	for _, address := range o.SMTPTo {
		if _, _, ok := hook.CheckMailAddress(address); !ok {
			all.add(wrong("smtp-to", "%q is not one plain e-mail address such as ops@example.com", address))
		}
	}
	switch {
	case len(o.SMTPTo) > 0 && o.SMTPURL == "":
		all.add(wrong("smtp-to", "--smtp-url is missing, the mail server"))
	case len(o.SMTPTo) > hook.MaxOperational:
		all.add(wrong("smtp-to", "names %d addresses; at most %d are allowed", len(o.SMTPTo), hook.MaxOperational))
	}
	if o.Backlog < 0 || o.Backlog > 100_000 {
		all.add(wrong("alert-backlog", "%d is not between 0 (never) and 100000", o.Backlog))
	}
	if o.Delay != 0 && (o.Delay < time.Second || o.Delay > 24*time.Hour) {
		all.add(wrong("alert-delay", "%v is neither 0s (never) nor between 1s and 24h", o.Delay))
	}
	if !(o.Disk == 0 || o.Disk >= 1 && o.Disk < 100) {
		all.add(wrong("alert-disk", "%v is neither 0 (never) nor between 1 and 99", o.Disk))
	}
}

// profileOf returns the profile text with which alerts to an endpoint are rendered. It runs
// on the store's writer.
func (n *Node) profileOf(e *hook.Endpoint) hook.ProfileHash {
	p, ok := n.profiles.Get(e.Profile)
	if !ok {
		p, _ = n.profiles.Get(n.cfg.Profile)
	}
	return p.Hash()
}

// mailer returns the sender of mails, nil if there is no mail server.
func (n *Node) mailer() deliver.Mailer {
	o := &n.cfg.Alerts
	if o.server == nil {
		return nil
	}
	n.log.Info("operational events can be mailed", "server", o.server, "from", o.SMTPFrom)
	return mail.New(mail.Options{Server: o.server, From: o.SMTPFrom, Roots: n.cfg.targets.roots, Log: n.log})
}

// mailTitle marks the operational endpoints that --smtp-to made.
const mailTitle = "Made by --smtp-to"

// keepMailEndpoints makes the operational endpoints of --smtp-to, enables those that were
// disabled by failures, because the mail server was away for days, and deletes those of
// addresses that it no longer names. Nodes that start together make each endpoint once.
func (n *Node) keepMailEndpoints(ctx context.Context) error {
	ctx = hook.WithActor(ctx, hook.Actor{Kind: hook.ActorItself, ID: "--smtp-to"})
	scope := hook.Scope{Tenant: hook.OperatorTenant, Mode: hook.Live}
	existing, err := n.store.TenantEndpoints(ctx, scope)
	if err != nil {
		return fmt.Errorf("read operational endpoints: %w", err)
	}
	var urls []string
	for _, address := range n.cfg.Alerts.SMTPTo {
		url, err := hook.ParseMailURL("mailto:" + address)
		if err != nil {
			return exit.With(exit.Usage, err)
		}
		urls = append(urls, url)
	}
	for _, e := range existing {
		if e.Title != mailTitle {
			continue
		}
		if slices.Contains(urls, e.URL) {
			if err := n.enableMailEndpoint(ctx, e); err != nil {
				return fmt.Errorf("enable the endpoint of --smtp-to: %w", err)
			}
			continue
		}
		if err := n.store.DeleteEndpoint(ctx, scope, e.ID); err != nil && hook.CodeOf(err) != hook.CodeNotFound {
			return fmt.Errorf("delete the endpoint of an earlier --smtp-to: %w", err)
		}
	}
	for _, url := range urls {
		if err := n.makeMailEndpoint(ctx, scope, url); err != nil {
			return fmt.Errorf("--smtp-to: %w", err)
		}
	}
	return nil
}

func (n *Node) enableMailEndpoint(ctx context.Context, e *hook.Endpoint) error {
	if e.Status != hook.Tripped {
		return nil
	}
	_, err := n.store.UpdateEndpoint(ctx, e.Scope, e.ID, func(old hook.Endpoint) (hook.Endpoint, error) {
		if old.Status == hook.Tripped {
			old.Status = hook.Enabled
		}
		return old, nil
	}, false)
	if hook.CodeOf(err) == hook.CodeNotFound {
		return nil
	}
	return err
}

var errThere = errors.New("the endpoint exists")

func (n *Node) makeMailEndpoint(ctx context.Context, scope hook.Scope, url string) error {
	p, _ := n.profiles.Get("standard")
	text, encoding, err := p.NewSecret()
	if err != nil {
		return err
	}
	_, _, err = n.store.CreateEndpointIf(ctx, hook.Endpoint{Scope: scope, URL: url, Types: hook.Filter{"*"}, Title: mailTitle, Profile: "standard", MaxInFlight: 1, Operational: true,
		Secrets: []hook.Secret{{Text: text, Encoding: encoding}}}, func(existing []*hook.Endpoint) error {
		switch {
		case slices.ContainsFunc(existing, func(e *hook.Endpoint) bool { return e.URL == url }):
			return &hook.Error{Code: hook.CodeConflict, Err: errThere}
		case len(existing) >= hook.MaxOperational:
			return &hook.Error{Code: hook.CodeEndpointLimit, Message: fmt.Sprintf("there are %d operational endpoints of the operator already; delete one", len(existing))}
		}
		return nil
	}, nil)
	if errors.Is(err, errThere) {
		return nil
	}
	return err
}

// watchThresholds publishes when figures of this node pass their thresholds.
func (n *Node) watchThresholds(ctx context.Context) {
	o := &n.cfg.Alerts
	threshold.Run(ctx, threshold.Options{Log: n.log, Announce: func(ctx context.Context, c threshold.Change) error {
		name := hook.AlertExceeded
		if c.Cleared {
			name = hook.AlertCleared
		}
		return n.store.Announce(ctx, name, hook.NewThresholdAlert(c.Figure, c.Value, c.Limit, c.Since, c.Cleared, n.store.Epoch()))
	}},
		threshold.Figure{Name: "backlog", Limit: float64(o.Backlog), Read: func(time.Time) (float64, bool) { return float64(n.dispatch.Stats().Waiting), true }},
		threshold.Figure{Name: "delay", Limit: o.Delay.Seconds(), Read: func(now time.Time) (float64, bool) {
			return n.attempts.delays.Read(now, n.dispatch.Stats().Waiting > 0).Seconds(), true
		}},
		threshold.Figure{Name: "disk", Limit: o.Disk, Read: func(time.Time) (float64, bool) { return threshold.DiskUsed(n.cfg.Data) }},
	)
}
