package exit

import (
	"errors"
	"strconv"

	"github.com/spf13/pflag"
)

// What is said about values of options, in one place: the option as it was given, the
// value, and what is expected.

// wanted says what a value is, by the type of its flag.
var wanted = map[string]string{
	"bool":        "true or false",
	"int":         "a whole number such as 64",
	"float64":     "a number such as 0.5",
	"duration":    "a duration such as 30s, 1h30m or 30d",
	"stringSlice": "a list such as a,b",
}

// RefusedValue says in plain words what is wrong with a value that a flag did not
// take. source is what the value was given as: a flag, a variable or a line of a file.
func RefusedValue(source string, err error) error {
	e, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return Usagef("%s: %w", source, err)
	}
	flag := e.GetFlag()
	is := wanted[flag.Value.Type()]
	switch {
	case errors.Is(err, ErrEmptyList):
		return Usagef("%s: %w", source, ErrEmptyList)
	case SecretFlags[flag.Name]:
		return Usagef("%s: cannot be read", source)
	case is == "":
		return Usagef("%s: %q: %w", source, e.GetValue(), e.Unwrap())
	case errors.Is(err, strconv.ErrRange):
		return Usagef("%s: %q is out of range; give %s", source, e.GetValue(), is)
	}
	return Usagef("%s: %q is not %s", source, e.GetValue(), is)
}

// missingValue says what a flag that ends the command line lacks.
func missingValue(e *pflag.ValueRequiredError) error {
	if is := wanted[e.GetFlag().Value.Type()]; is != "" {
		return Usagef("--%s needs a value, %s", e.GetFlag().Name, is)
	}
	return Usagef("--%s needs a value", e.GetFlag().Name)
}

// ErrEmptyList is the refusal of a list that says nothing, such as that of a variable
// that is not set.
var ErrEmptyList = errors.New("the value is empty and would do nothing; give one, or leave the option out")

// SecretFlags are options whose values are masked wherever a configuration is shown, and
// that may come from a file named by POSTHORN_..._FILE.
var SecretFlags = map[string]bool{"operator-key": true, "operator-test-key": true, "store": true, "egress-proxy": true, "smtp-url": true}
