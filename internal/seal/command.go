package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	commandTime   = 10 * time.Second
	commandOutput = 4096 // bytes of output, far more than a key has
)

// ErrCommand says that the command for the master key gave none.
var ErrCommand = errors.New("the command for the master key failed")

// FromText returns the keyring of a master key given as standard base64 text, with white
// space around it. Errors are ErrKeySize, and never hold the text.
func FromText(text string) (*Keyring, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil { // the decoder's own error would quote part of the key's text
		return nil, ErrKeySize
	}
	return New(key)
}

// FromCommand returns the keyring of the master key that a command line prints, as of
// FromText. The command is run once, by /bin/sh, with the environment of this process and
// no input. It has 10 seconds and 4 KiB of output; after that it is ended, with what it
// started. Its output is kept nowhere, and what it writes to standard error is dropped.
// Errors wrap ErrCommand or ErrKeySize and never hold output.
func FromCommand(ctx context.Context, line string) (*Keyring, error) {
	return fromCommand(ctx, line, commandTime)
}

func fromCommand(ctx context.Context, line string, limit time.Duration) (*Keyring, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out bounded
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	defer clear(out.b.Bytes())
	switch {
	case out.full:
		return nil, fmt.Errorf("%w: it printed more than %d bytes", ErrCommand, commandOutput)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: it took longer than %s", ErrCommand, limit)
	case err != nil: // "exit status 3", or why it did not start
		return nil, fmt.Errorf("%w: %w; run it by hand as the server's user to see why", ErrCommand, err)
	}
	k, err := FromText(out.b.String())
	if err != nil {
		return nil, fmt.Errorf("the output of the command for the master key: %w", err)
	}
	return k, nil
}

// bounded keeps the beginning of an output and refuses the rest.
type bounded struct {
	b    bytes.Buffer
	full bool
}

// Write keeps what there is room for.
func (b *bounded) Write(p []byte) (int, error) {
	if b.b.Len()+len(p) > commandOutput {
		b.full = true
		return 0, errors.New("too much output")
	}
	return b.b.Write(p)
}
