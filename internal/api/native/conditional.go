package native

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// This file is about conditional requests (RFC 9110, section 13). Tags are strong:
// the digest of the very bytes of the answer. That of an endpoint has its revision
// in front, and If-Match looks at the revision alone: its health, which is in the
// answer too, changes with every attempt and is no change of the endpoint.

// ReadIn documents the header that single reads.
type ReadIn struct {
	IfNoneMatch string `header:"If-None-Match" doc:"An ETag: 304 if the answer would be the same."`
}

// ChangeIn documents the header that ifMatch reads.
type ChangeIn struct {
	IfMatch string `header:"If-Match" doc:"An ETag: 412 if the resource has changed since."`
}

// single answers one resource with its tag, or 304 if the caller has it. A revision
// goes in front of the tag.
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

// hasTag reports whether a list names the tag, by the weak comparison that
// If-None-Match asks for.
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

// ifMatch makes the checks of a request: none without If-Match. current returns the
// tag of the resource as it is when the check runs.
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

// sameTag is the strong comparison. A tag that ends in a hyphen stands for every
// tag of that revision.
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

// encodedTag is the tag of an answer that single would give.
func encodedTag(v any) string {
	body, err := encode(v)
	if err != nil {
		return ""
	}
	return tagOf(body)
}
