package exit

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type argsKey struct{}

// WithArgs returns a context that has the command line, for FlagErrors.
func WithArgs(ctx context.Context, args []string) context.Context {
	return context.WithValue(ctx, argsKey{}, args)
}

// FlagErrors reads the command line again, sets all flags that can be read, and returns
// what is wrong with each of the others. It returns nothing if the context of the command
// has no command line.
func FlagErrors(cmd *cobra.Command) (all []error) {
	args, _ := cmd.Context().Value(argsKey{}).([]string)
	f := cmd.Flags()
	for {
		err := f.ParseAll(args, func(flag *pflag.Flag, value string) error {
			if err := f.Set(flag.Name, value); err != nil {
				all = append(all, FlagError(cmd, err))
				if _, list := flag.Value.(pflag.SliceValue); !list {
					_ = flag.Value.Set(flag.DefValue) // one fault is enough: it is a value that it formatted itself
				}
			}
			return nil
		})
		if err == nil || errors.Is(err, pflag.ErrHelp) {
			return all
		}
		all = append(all, FlagError(cmd, err))
		unknown, ok := errors.AsType[*pflag.NotExistError](err)
		if !ok {
			return all // the last flag lacks its value
		}
		at := slices.IndexFunc(args, func(arg string) bool {
			if letters := unknown.GetSpecifiedShortnames(); letters != "" {
				return strings.HasPrefix(arg, "-"+letters)
			}
			name, _, _ := strings.Cut(arg, "=")
			return name == "--"+unknown.GetSpecifiedName()
		})
		if at < 0 {
			return all
		}
		args = args[at+1:]
	}
}
