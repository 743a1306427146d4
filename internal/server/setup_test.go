package server_test

import (
	"testing"

	"github.com/posthorn/posthorn/internal/server/servertest"
)

func startLive(t *testing.T, args ...string) *servertest.Live {
	t.Helper()
	return servertest.Start(t, args...)
}
