package unit

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
)

func errStorageFull(err error) *hook.Error {
	return &hook.Error{Code: hook.CodeStorageFull, Message: "The disk is full. Nothing was stored; try again later.", Err: err}
}

func errStorageDown(err error) *hook.Error {
	return &hook.Error{Code: hook.CodeStorageDown, Message: "The store is not available. Try again later.", Err: err}
}

func errShuttingDown() *hook.Error {
	return &hook.Error{Code: hook.CodeShuttingDown, Message: "The server is shutting down. Try again."}
}

func errInternal(err error) *hook.Error {
	return &hook.Error{Code: hook.CodeInternal, Message: "Something went wrong on our side.", Err: err}
}

// ReadError maps the error of a read to a hook.Error. It returns a context's error
// unchanged.
func (c *Core) ReadError(act string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if c.Closed() {
		return errShuttingDown()
	}
	err = fmt.Errorf("%s: %w", act, err)
	if c.Engine.Class(err) == batch.OwnFault {
		return errInternal(err)
	}
	return errStorageDown(err)
}

// Answer maps an error of the writer to a hook.Error.
func Answer(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if known, ok := errors.AsType[*hook.Error](err); ok {
		return known
	}
	switch {
	case errors.Is(err, batch.ErrClosed):
		return errShuttingDown()
	case errors.Is(err, batch.ErrBusy):
		return &hook.Error{Code: hook.CodeServerBusy, Message: "More events wait for the disk than the server has memory for. Nothing was stored. Send the request again later."}
	case errors.Is(err, batch.ErrFull):
		return errStorageFull(err)
	case errors.Is(err, batch.ErrUnavailable), errors.Is(err, batch.ErrStopped):
		return errStorageDown(err)
	}
	return errInternal(err)
}
