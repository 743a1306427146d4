package server

import (
	"log/slog"
	"os"
)

// NewLog returns a logger that writes JSON, or text on a terminal.
func NewLog(cfg *Config, w *os.File) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // checked with the configuration
	options := &slog.HandlerOptions{Level: level}
	text := cfg.LogFormat == "text"
	if info, err := w.Stat(); cfg.LogFormat == "auto" && err == nil {
		text = info.Mode()&os.ModeCharDevice != 0
	}
	if text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
