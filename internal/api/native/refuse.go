package native

import "net/http"

// Refuse answers with the problem of an error, for counters that speak the native
// API beside it. The request id comes from the answer's X-Request-Id header.
// Of the options Service, Log and Refused matter.
func Refuse(w http.ResponseWriter, r *http.Request, o Options, err error) {
	(&api{o: o}).refuse(w, r, err)
}
