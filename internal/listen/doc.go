// Package listen is the switchboard between attempts and receivers that connect
// to the server instead of being called: it knows who is connected, hands each
// request to them and waits for their answer.
//
// It promises that a request is answered only by the connection it was given to,
// that a connection that ends before it answered costs its endpoint no failure
// (hook.ErrAway), and that the stored status of an endpoint follows whether
// somebody listens. It never retries, never signs and never reads HTTP.
package listen
