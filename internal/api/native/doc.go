// Package native is the HTTP adapter of Posthorn's own API: /v1, health, version and
// the OpenAPI document, all over the app room. It owns routes, limits of requests,
// the problem document of every refusal and the table from code to status.
//
// It promises that every error, also that of an unknown route and of a handler
// that panics, is application/problem+json with a code and a request id, and that
// no text of a driver and no stack reaches a caller. It decides nothing about who
// may do what and keeps no state between requests.
package native
