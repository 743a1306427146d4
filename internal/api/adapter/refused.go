package adapter

import (
	"log/slog"
	"net/http"

	"github.com/posthorn/posthorn/internal/hook"
)

// refusals maps the statuses that are counted to the codes of errors without a code.
var refusals = map[int]hook.Code{
	http.StatusUnauthorized: hook.CodeUnauthorized, http.StatusForbidden: hook.CodeForbidden, http.StatusTooManyRequests: hook.CodeRateLimited,
}

// Refused calls count for a response of 401, 403 or 429: these mean that a caller tried
// something that is not permitted, or too often. count may be nil.
func Refused(count func(status int, code string), status int, err error) {
	code, counted := refusals[status]
	if count == nil || !counted {
		return
	}
	if own := hook.CodeOf(err); err != nil && own != hook.CodeInternal {
		code = own
	}
	count(status, string(code))
}

// LogRefused logs a request that is answered with the status of an error. An error of the
// server has its cause and is a warning if it passes: the store logs it once at a higher
// level. Any other error is a line without its text, with the attributes of more, unless it
// was logged before.
func LogRefused(log *slog.Logger, w http.ResponseWriter, r *http.Request, status int, passes bool, err error, more ...any) {
	id := slog.String("request_id", w.Header().Get(RequestIDHeader))
	switch {
	case status >= 500 && status != http.StatusLoopDetected && r.Context().Err() == nil: // a loop is caused by the endpoint
		level := slog.LevelError
		if passes {
			level = slog.LevelWarn
		}
		log.Log(r.Context(), level, "request failed", id, "error", err)
	case status < 500 && !hook.Logged(err):
		log.InfoContext(r.Context(), "request refused", append([]any{id, "status", status}, more...)...)
	}
}
