package webhook

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// DefaultMaxBody is the largest body a Verifier's Handler reads, in bytes.
const DefaultMaxBody = 1 << 20

// Handler lets only verified requests through to next, which finds the body
// unread. Others are answered 401; 400 if a header of the scheme is missing or
// malformed, 413 if the body is too large. The answer does not say which check
// failed beyond that.
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
