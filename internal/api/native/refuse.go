package native

import "net/http"

// Refuse responds with the problem of an error. It is for handlers that are mounted
// beside the native API and use its error format. It takes the request id from the
// response's X-Request-Id header. Only Service, Log and Refused of the options are
// used.
func Refuse(w http.ResponseWriter, r *http.Request, o Options, err error) {
	(&api{o: o}).refuse(w, r, err)
}
