package door_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/api/door"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestRefusalsAreCounted(t *testing.T) {
	var got []string
	count := func(status int, code string) { got = append(got, fmt.Sprint(status, " ", code)) }
	door.Refused(nil, 401, nil)
	door.Refused(count, 401, &hook.Error{Code: hook.CodeUnauthorized})
	door.Refused(count, 429, &hook.Error{Code: hook.CodeBacklogFull})
	door.Refused(count, 403, errors.New("worded elsewhere"))
	door.Refused(count, 404, &hook.Error{Code: hook.CodeNotFound})
	door.Refused(count, 500, nil)
	if want := []string{"401 unauthorized", "429 backlog_full", "403 forbidden"}; !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
}
