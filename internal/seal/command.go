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
	commandOutput = 4096 // bytes, far more than a key needs
)

// ErrCommand means that the command for the master key did not print a key.
var ErrCommand = errors.New("the command for the master key failed")

// FromText returns the keyring of master keys given as standard base64 text, oldest first,
// with white space between them. Errors wrap ErrKeySize, ErrKeyTwice or ErrKeyCount and
// never contain the text.
func FromText(text string) (*Keyring, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, ErrKeySize
	}
	var all [][]byte
	defer func() {
		for _, key := range all {
			clear(key)
		}
	}()
	for _, word := range words[:min(len(words), MaxKeys+1)] {
		key, err := base64.StdEncoding.DecodeString(word)
		if err != nil {
			key = nil // the decoder's error would quote part of the key
		}
		all = append(all, key)
	}
	return New(all...)
}

// FromCommand returns the keyring of the master keys that a command prints, in the format of
// FromText. /bin/sh runs the command line once, with the environment of this process and no
// input. The command may take 10 seconds and print 4 KiB. Beyond either limit, it and its
// child processes are killed. Its output is not kept, and its standard error is discarded.
// Errors wrap ErrCommand or those of FromText and never contain output.
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
	case err != nil: // such as "exit status 3", or why it did not start
		return nil, fmt.Errorf("%w: %w; run it by hand as the server's user to see why", ErrCommand, err)
	}
	k, err := FromText(out.b.String())
	if err != nil {
		return nil, fmt.Errorf("the output of the command for the master key: %w", err)
	}
	return k, nil
}

// bounded stores the beginning of an output and refuses the rest.
type bounded struct {
	b    bytes.Buffer
	full bool
}

// Write implements io.Writer. It stores p, or returns an error if p does not fit.
func (b *bounded) Write(p []byte) (int, error) {
	if b.b.Len()+len(p) > commandOutput {
		b.full = true
		return 0, errors.New("too much output")
	}
	return b.b.Write(p)
}
