package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// Warning describes something unusual about an endpoint that was accepted.
type Warning struct{ Code, Message string }

// matchesNothing is the warning about an endpoint whose filter has no entries.
var matchesNothing = Warning{"event_types_empty", "event_types is empty: the endpoint gets no event. Name event types, or \"*\" for all."}

// Options configures a Service. Store, Profiles, Admit and CheckHeaders are required.
type Options struct {
	Store    Store
	Profiles *profile.Set
	Profile  string // of endpoints that name none; empty: "standard"

	// Admit checks a URL that a tenant chose and returns its canonical form. It may
	// resolve the host name, so it is never called inside a transaction.
	Admit func(ctx context.Context, rawURL string, ipHosts bool) (canonical string, warnings []Warning, err error)
	// CheckHeaders checks an endpoint's custom headers (S-08).
	CheckHeaders func([]hook.Header) error

	OperatorKey     string // bootstrap key for live mode; empty: none
	OperatorTestKey string // bootstrap key for test mode; empty: none
	CreateTenants   bool   // publishing to an unknown tenant creates it
	VerifyEndpoints bool   // receivers must agree before they get events; see verify.go
	Now             func() time.Time

	// Pace reports the state of an endpoint's attempts on this node; nil: not known.
	Pace func(endpoint hook.ID) (hook.Pace, bool)

	PublishRate   float64      // events per second that one key may publish; 0: no limit
	Reads         Rate         // read calls of one key
	Writes        Rate         // write calls of one key, except publishing
	AuditedWrites int          // write calls of one key in a day, except publishing; 0: no limit
	Attempts      Rate         // attempts that one tenant's keys request, and uses of its secrets
	WrongKeys     int          // requests per minute without a valid key from one address; 0: no limit
	Ceilings      Ceilings     // upper limits of endpoint settings
	Loop          hook.Loop    // the mark of this installation in CDN-Loop; empty: none
	Pages         Pages        // where people reach the pages
	Marks         Marks        // of the codes in cookies and links; nil: they have none
	AllowReveal   bool         // secrets can be shown again
	Mail          bool         // operational endpoints can have an e-mail address
	Log           *slog.Logger // receives audit lines; nil: slog.Default()
}

// Service handles the requests of callers. It is safe for concurrent use.
type Service struct {
	o         Options
	bootstrap map[[32]byte]Caller
	buckets   buckets
	wrongKeys knocks
	// publicAsked counts the requests for public keys.
	publicAsked knocks
	// strangers counts what was looked for in vain for codes without a mark. It has one site.
	strangers knocks
	shorts    knocks // counts the reads of PortalShort, likewise
	schemas   schemas
	reads     reads
}

// New returns a Service, or an error that describes which option is wrong.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Profiles == nil || o.Admit == nil || o.CheckHeaders == nil {
		return nil, errors.New("app: Store, Profiles, Admit and CheckHeaders are required")
	}
	if o.Profile == "" {
		o.Profile = "standard"
	}
	if _, ok := o.Profiles.Get(o.Profile); !ok {
		return nil, fmt.Errorf("app: there is no profile %q", o.Profile)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Ceilings = o.Ceilings.settled()
	s := &Service{o: o, bootstrap: map[[32]byte]Caller{}, publicAsked: knocks{evict: true}}
	for mode, text := range map[hook.Mode]string{hook.Live: o.OperatorKey, hook.Test: o.OperatorTestKey} {
		if text == "" {
			continue
		}
		if !validBootstrap(text) {
			return nil, fmt.Errorf("app: the %s operator key must be 32 to 200 printable ASCII characters", mode)
		}
		hash := sha256.Sum256([]byte(text))
		if _, taken := s.bootstrap[hash]; taken {
			return nil, errors.New("app: the operator keys of the two modes must differ")
		}
		s.bootstrap[hash] = Caller{Kind: hook.Operator, Mode: mode}
	}
	return s, nil
}

// Once makes a creating request idempotent: it is carried out once for its
// Idempotency-Key. Route distinguishes requests of different routes. Answer receives
// the result of the method. It runs inside the store's transaction and must be pure.
type Once struct {
	Route    string
	Key      string
	BodyHash [32]byte
	Answer   func(result any) (status int, body []byte)
}

// in converts o to the store's form; nil stays nil. scope is the scope in which the
// request acts. result converts the store's result to the method's.
func (o *Once) in(scope hook.Scope, result func(stored any) any) *hook.Once {
	if o == nil {
		return nil
	}
	return &hook.Once{Scope: scope, Route: o.Route, Key: o.Key, BodyHash: o.BodyHash,
		Answer: func(stored any) (int, []byte) { return o.Answer(result(stored)) }}
}

// Now returns the time of the service's clock.
func (s *Service) Now() time.Time { return s.o.Now() }

// Loop returns the mark that this installation's deliveries carry in CDN-Loop. A
// request with this mark is one of these deliveries.
func (s *Service) Loop() hook.Loop { return s.o.Loop }

func validBootstrap(text string) bool {
	if len(text) < 32 || len(text) > 200 {
		return false
	}
	for i := 0; i < len(text); i++ {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func invalid(field, message string) error {
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: field, Message: message}
}
