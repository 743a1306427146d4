package adapter_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/hook"
)

func TestRefusalsAreCounted(t *testing.T) {
	var got []string
	count := func(status int, code string) { got = append(got, fmt.Sprint(status, " ", code)) }
	adapter.Refused(nil, 401, nil)
	adapter.Refused(count, 401, &hook.Error{Code: hook.CodeUnauthorized})
	adapter.Refused(count, 429, &hook.Error{Code: hook.CodeBacklogFull})
	adapter.Refused(count, 403, errors.New("worded elsewhere"))
	adapter.Refused(count, 404, &hook.Error{Code: hook.CodeNotFound})
	adapter.Refused(count, 500, nil)
	if want := []string{"401 unauthorized", "429 backlog_full", "403 forbidden"}; !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
}
