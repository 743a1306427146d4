package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusalsAreBounded: so many at once, so many a second, and how many were left out.
// Other levels are not bounded.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := boundedLog(slog.New(slog.NewTextHandler(&text, nil)))
		lines := func() int {
			defer text.Reset()
			return strings.Count(text.String(), "\n")
		}
		for range 1000 {
			log.With("a", 1).Info("request refused")
		}
		if n := lines(); n != refusalsAtOnce {
			t.Errorf("%d lines at once", n)
		}
		time.Sleep(time.Second)
		log.Info("request refused")
		if !strings.Contains(text.String(), "left_out=950") {
			t.Errorf("how many were left out is not said: %s", text.String())
		}
		for range 1000 {
			log.Info("request refused")
		}
		if n := lines(); n != int(time.Second/refusalsEvery) {
			t.Errorf("%d lines after a second", n)
		}
		for range 100 {
			log.Warn("request failed")
		}
		if n := lines(); n != 100 {
			t.Errorf("%d lines of another level", n)
		}
	})
}
