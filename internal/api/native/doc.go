// Package native is the HTTP adapter of Posthorn's own API on top of package app: /v1,
// health, version and the OpenAPI document. It defines routes, limits of requests, the
// problem document of every refusal, and the table from codes to statuses.
//
// Every error, including that of an unknown route and of a handler that panics, is
// application/problem+json with a code and a request id. No text of a driver and no
// stack trace reaches a caller. The package makes no decisions about permissions and
// keeps no state between requests.
package native
