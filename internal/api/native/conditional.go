package native

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// This file implements conditional requests (RFC 9110, section 13). Tags are strong: a
// tag is the digest of the exact bytes of the response. The tag of an endpoint begins
// with its revision, and If-Match compares only the revision. The response also
// contains the endpoint's health, which changes with every attempt and is not a change
// of the endpoint.

// ReadIn documents the header that single reads.
type ReadIn struct {
	IfNoneMatch string `header:"If-None-Match" doc:"An ETag: 304 if the answer would be the same."`
}

// ChangeIn documents the header that ifMatch reads.
type ChangeIn struct {
	IfMatch string `header:"If-Match" doc:"An ETag: 412 if the resource has changed since."`
}

// single responds with one resource and its tag, or with 304 if the caller has it. If
// there is a revision, the tag begins with it.
func single[W any](q *request, status int, v W, revision ...int64) (*reply[W], error) {
	body, err := encode(v)
	if err != nil {
		return nil, err
	}
	tag := tagOf(body)
	for _, n := range revision {
		tag = `"` + strconv.FormatInt(n, 10) + "-" + tag[1:]
	}
	if (q.Method == http.MethodGet || q.Method == http.MethodHead) && hasTag(q.Header["If-None-Match"], tag) {
		return &reply[W]{Status: http.StatusNotModified, ETag: tag}, nil
	}
	return &reply[W]{Status: status, ETag: tag, Body: answer[W]{kept: body}}, nil
}

func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
}

// hasTag reports whether a list contains the tag. It uses the weak comparison, as
// If-None-Match requires.
func hasTag(header []string, tag string) bool {
	for one := range strings.SplitSeq(strings.Join(header, ","), ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

var errPrecondition = &hook.Error{Code: hook.CodePrecondition, Field: "If-Match",
	Message: "The resource has changed since the ETag of If-Match was given. Read it and try again."}

// ifMatch returns the checks of a request, none without If-Match. current returns the
// tag of the resource at the time of the check.
func ifMatch[T any](q *request, current func(T) string) []func(T) error {
	header := q.Header["If-Match"]
	if len(header) == 0 {
		return nil
	}
	return []func(T) error{func(now T) error {
		tag := current(now)
		for one := range strings.SplitSeq(strings.Join(header, ","), ",") {
			if one = strings.TrimSpace(one); one == "*" || sameTag(one, tag) {
				return nil
			}
		}
		return errPrecondition
	}}
}

// sameTag is the strong comparison. A tag that ends in a hyphen matches every tag of
// that revision.
func sameTag(given, tag string) bool {
	if revision, ok := strings.CutSuffix(tag, "-"); ok {
		found, _, cut := strings.Cut(given, "-")
		return cut && found == revision
	}
	return given == tag
}

func revisionTag(e hook.Endpoint) string { return `"` + strconv.FormatInt(e.Revision, 10) + "-" }

func tenantTag(t hook.Tenant) string { return encodedTag(wireTenant(t)) }

func eventTypeTag(e hook.EventType) string { return encodedTag(wireEventType(e)) }

// encodedTag returns the tag of a response by single.
func encodedTag(v any) string {
	body, err := encode(v)
	if err != nil {
		return ""
	}
	return tagOf(body)
}
