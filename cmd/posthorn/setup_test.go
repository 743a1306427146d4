package main

import (
	"testing"

	"github.com/posthorn/posthorn/internal/server/servertest"
)

func invoke(t *testing.T, stdin string, args ...string) (out, errOut string, code int) {
	t.Helper()
	return servertest.Run(t, newCommands(), stdin, args...)
}
