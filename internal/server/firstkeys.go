package server

import (
	"context"
	"fmt"
	"io"

	"github.com/posthorn/posthorn/internal/exit"
)

// printFirstKeys creates and prints operator keys if the store has none and no bootstrap
// key is configured. If out is nil it does nothing.
func (n *Node) printFirstKeys(ctx context.Context, out io.Writer) error {
	if out == nil || n.cfg.OperatorKey != "" || n.cfg.OperatorTestKey != "" {
		return nil
	}
	err := n.app.FirstKeys(ctx, func(live, test string, used bool) error {
		why := "First start: these operator keys are shown once. Keep them."
		if used {
			n.log.Warn("POSTHORN_OPERATOR_KEY is not set; a bootstrap key used before is not valid in this run")
			why = "No operator key is configured and the store has none: these were made, shown once. Keep them."
		}
		text := fmt.Sprintf("%s\n  live: %s\n  test: %s\n", why, live, test)
		if n.cfg.UI {
			link, err := n.app.OwnUILink(ctx, live, test)
			if err != nil {
				return err
			}
			text += fmt.Sprintf("Open the pages within five minutes, once: %s\nLater, \"posthorn ui\" prints another link.\n", link.URL)
		}
		_, err := fmt.Fprint(out, text)
		return err
	})
	if err != nil {
		return exit.With(exit.Open, fmt.Errorf("make and print operator keys: %w; start again, or set POSTHORN_OPERATOR_KEY", err))
	}
	return nil
}

// PagesLink returns a link that opens the pages with the bootstrap keys, once.
func (n *Node) PagesLink(ctx context.Context) (string, error) {
	link, err := n.app.OwnUILink(ctx, n.cfg.OperatorKey, n.cfg.OperatorTestKey)
	return link.URL, err
}
