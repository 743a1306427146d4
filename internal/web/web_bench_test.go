package web_test

import (
	"log/slog"
	"testing"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/web"
)

// What a start of the process spends on the pages: parsing their templates, those of the
// portal too, and compressing their files.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if _, err := web.New(web.Options{Service: new(app.Service), Log: slog.New(slog.DiscardHandler)}); err != nil {
			b.Fatal(err)
		}
	}
}
