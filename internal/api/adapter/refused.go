package adapter

import (
	"net/http"

	"github.com/posthorn/posthorn/internal/hook"
)

// refusals are the codes of the statuses that are counted, for errors without one.
var refusals = map[int]hook.Code{
	http.StatusUnauthorized: hook.CodeUnauthorized, http.StatusForbidden: hook.CodeForbidden, http.StatusTooManyRequests: hook.CodeRateLimited,
}

// Refused tells count of an answer of 401, 403 or 429: those say that callers knock
// where they may not, or too often. count may be nil.
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
