package door

import (
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/posthorn/posthorn/internal/app"
)

// WrongKey counts a request that came without a valid key against the address it came
// from, and returns what to answer: err, or a refusal once there were too many. Beyond
// that the log gets one line a minute for an address, here. s may be nil.
func WrongKey(r *http.Request, s *app.Service, log *slog.Logger, err error) error {
	if s == nil {
		return err
	}
	from, _ := netip.ParseAddrPort(r.RemoteAddr) // of another transport: all are one site
	refused, first := s.WrongKey(from.Addr())
	if refused == nil {
		return err
	}
	if first {
		log.InfoContext(r.Context(), "too many requests without a valid key: more of them are answered with 429", "address", app.Site(from.Addr()).String(), "for", refused.RetryAfter.String())
	}
	return refused
}
