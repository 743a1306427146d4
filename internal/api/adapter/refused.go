package adapter

import (
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
