// Package app is what a caller may ask of Posthorn: publish, manage tenants, keys
// and endpoints, look at events and deliveries and act on them. It owns the
// permissions and the checks of what is asked, whichever API the request came through.
//
// It promises that nothing is stored of a request that it refuses, and that an
// unknown id, another tenant's and one of the other mode get the same answer
// (S-09). It speaks no HTTP and no SQL, and knows store and egress only through
// the small interfaces and functions of [Options].
package app
