package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/posthorn/posthorn/internal/exit"
)

// IsTerminal reports whether a reader or writer is a terminal.
func IsTerminal(end any) bool {
	if s, ok := end.(*Screen); ok {
		end = s.to
	}
	f, ok := end.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// widthOf returns the width of the terminal in characters, at least 80. Without a terminal
// it is 80.
func widthOf(out io.Writer) int {
	if s, ok := out.(*Screen); ok {
		out = s.to
	}
	if f, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			return max(80, int(size.Col))
		}
	}
	return 80
}

// askYes asks a question on a terminal. Anything but y or yes means no.
func askYes(ctx context.Context, in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprintf(out, "%s [y/N] ", question)
	line, err := readLine(ctx, in)
	if err != nil {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// askSecret prompts for a text without echo.
func askSecret(ctx context.Context, in *os.File, out io.Writer, question string) (string, error) {
	fmt.Fprintf(out, "%s ", question)
	fd := int(in.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
		return "", err
	}
	defer func() {
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, before) // nothing can be done about it
		fmt.Fprintln(out)
	}()
	line, err := readLine(ctx, in)
	return strings.TrimSpace(line), err
}

// readLine reads one line of at most 64 KiB; the end of the input ends it too, and so does
// that of the context.
func readLine(ctx context.Context, in io.Reader) (line string, err error) {
	done := make(chan struct{})
	var text string
	var failed error
	go func() {
		defer close(done)
		text, failed = bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return "", exit.With(exit.Failed, errors.New("interrupted; nothing was done"))
	}
	if failed == io.EOF {
		failed = nil
	}
	return text, failed
}
