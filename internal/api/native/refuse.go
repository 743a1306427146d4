package native

import (
	"log/slog"
	"net/http"
)

// Refuse answers with the problem of an error, for counters that speak the native
// API beside it. The request id comes from the answer's X-Request-Id header.
func Refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	(&api{o: Options{Log: log}}).refuse(w, r, err)
}
