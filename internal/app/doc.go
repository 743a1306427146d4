// Package app implements what a caller can do with Posthorn: publish events, manage
// tenants, keys and endpoints, and read and act on events and deliveries. It checks
// permissions and requests, whichever API a request came through.
//
// If a request is refused, nothing of it is stored. An unknown id, another tenant's id
// and an id of the other mode get the same response (S-09). The package contains no
// HTTP and no SQL. It uses store and egress only through the small interfaces and
// functions of [Options].
package app
