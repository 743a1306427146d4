package webhook

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// DefaultMaxBody is the default limit of [Verifier.Handler] for a request body, in bytes.
const DefaultMaxBody = 1 << 20

// Handler returns a handler that passes verified requests to next, with their body still to
// be read. It answers other requests with 401, with 400 if a header of the scheme is missing
// or malformed or the body cannot be read, and with 413 if the body is too large. The
// response reveals nothing more about which check failed.
func (v *Verifier) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := v.MaxBody
		if limit <= 0 {
			limit = DefaultMaxBody
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
		if err != nil {
			http.Error(w, "cannot read the body", readStatus(err))
			return
		}
		if err := v.Verify(r.Header, body); err != nil {
			http.Error(w, "webhook signature refused", verifyStatus(err))
			return
		}
		verified := *r
		verified.Body = io.NopCloser(bytes.NewReader(body))
		verified.ContentLength = int64(len(body))
		next.ServeHTTP(w, &verified)
	})
}

func readStatus(err error) int {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

func verifyStatus(err error) int {
	if errors.Is(err, ErrMissingHeader) || errors.Is(err, ErrMalformedHeader) {
		return http.StatusBadRequest
	}
	return http.StatusUnauthorized
}
