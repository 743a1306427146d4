package adapter

import (
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/posthorn/posthorn/internal/app"
)

// Address returns the remote address of a request's connection. Behind a proxy that is
// the proxy's address. Headers are ignored, because anybody can send them. For
// transports other than IP it is the zero address.
func Address(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr()
}

// WrongKey counts a request without a valid key against its address. It returns the
// error for the response: err, or a refusal if there were too many. Beyond the limit it
// logs one line a minute for each address. s may be nil.
func WrongKey(r *http.Request, s *app.Service, log *slog.Logger, err error) error {
	if s == nil {
		return err
	}
	from := Address(r)
	refused, first := s.WrongKey(from)
	if refused == nil {
		return err
	}
	if first {
		log.InfoContext(r.Context(), "too many requests without a valid key: more of them are answered with 429", "address", app.Site(from).String(), "for", refused.RetryAfter.String())
	}
	return refused
}
