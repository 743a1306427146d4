// Package listen passes attempts to receivers that connect to the server, instead of
// being called at a URL. It tracks which receivers are connected, passes each request
// to the connected one and waits for its answer.
//
// It guarantees that a request is answered only with the token that its connection
// received, that a connection that ends before it answered does not count as a failure
// of its endpoint ([hook.ErrAway]), and that the stored status of an endpoint follows
// whether its receiver is connected. It never retries, never signs and never parses
// HTTP.
package listen
