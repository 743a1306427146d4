// Package schema checks the data of events against JSON Schema (draft 2020-12).
//
// It loads nothing from a network or a file, so a $ref can only refer to the schema
// itself or the metaschemas. Schemas and data come from callers, so each check is
// bounded in its evaluations and in the size of the numbers that it calculates with.
package schema

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"encoding/json"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// MaxSize bounds the text of a schema, in bytes.
const MaxSize = 64 << 10

// Bounds of one check.
const (
	maxEvaluations = 100_000 // subschemas applied to values
	maxNumber      = 400     // digits of a number, and its exponent
	maxMessage     = 300     // bytes of a reason
)

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	text   []byte
	plain  *plain    // nil: it has uncommon keywords
	copies sync.Pool // of *compiled: each copy counts its evaluations
}

// compiled is one copy of the schema, used by one check at a time.
type compiled struct {
	root *jsonschema.Schema
	left int // evaluations that remain
}

// Mismatch describes where and why data does not match the schema.
type Mismatch struct {
	Pointer string // JSON pointer into the data, empty for all of it
	Reason  string
}

// location is the base URI of a schema that has no $id.
const location = "schema:///event"

var printer = message.NewPrinter(language.English)

// Compile compiles a schema, which is a JSON object. Its error is a sentence for people
// that names the place in the schema.
func Compile(text []byte) (*Schema, error) {
	s := &Schema{text: bytes.Clone(text)}
	first, err := s.compile()
	if err != nil {
		return nil, err
	}
	s.plain = plainOf(first.root, map[*jsonschema.Schema]*plain{})
	s.copies.Put(first)
	return s, nil
}

// Text returns the text of the schema. The caller must not change it.
func (s *Schema) Text() []byte { return s.text }

func (s *Schema) compile() (*compiled, error) {
	if len(s.text) > MaxSize {
		return nil, fmt.Errorf("the schema has %d bytes; at most %d are taken", len(s.text), MaxSize)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.text))
	if err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(closed{})
	out := &compiled{}
	c.RegisterVocabulary(&jsonschema.Vocabulary{URL: "schema:///counted",
		Compile: func(_ *jsonschema.CompilerContext, object map[string]any) (jsonschema.SchemaExt, error) {
			return newBounded(out, object), nil
		}})
	c.AssertVocabs()
	if err := c.AddResource(location, document); err != nil {
		return nil, errors.New(says(err))
	}
	if out.root, err = c.Compile(location); err != nil {
		return nil, errors.New(says(err))
	}
	leaveToBounded(reflect.ValueOf(out.root), map[any]bool{})
	return out, nil
}

// closed is a loader that loads nothing.
type closed struct{}

func (closed) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not part of the schema, and nothing is loaded", url)
}

var errTooLong = errors.New("too long")

// Check returns nil if the data, strict JSON, matches the schema.
func (s *Schema) Check(data []byte) *Mismatch {
	value, err := decode(data)
	if err != nil {
		return &Mismatch{Reason: "it is not JSON"}
	}
	if pointer, ok := hugeNumber(value); ok {
		return &Mismatch{Pointer: pointer, Reason: fmt.Sprintf("a number may have up to %d digits and powers of ten", maxNumber)}
	}
	left := maxEvaluations
	if s.plain != nil && s.plain.recognizes(value, &left) {
		return nil
	}
	c, _ := s.copies.Get().(*compiled)
	if c == nil {
		if c, err = s.compile(); err != nil {
			return &Mismatch{Reason: err.Error()} // it has compiled before
		}
	}
	defer s.copies.Put(c)
	c.left = maxEvaluations
	return c.run(value)
}

func (c *compiled) run(value any) (found *Mismatch) {
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case errTooLong:
			found = &Mismatch{Reason: fmt.Sprintf("the check would take more than %d steps", maxEvaluations)}
		default:
			panic(cause)
		}
	}()
	err := c.root.Validate(value)
	if err == nil {
		return nil
	}
	wrong, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return &Mismatch{Reason: says(err)}
	}
	for len(wrong.Causes) > 0 {
		wrong = wrong.Causes[0]
	}
	return &Mismatch{Pointer: pointerTo(wrong.InstanceLocation), Reason: shortened(wrong.ErrorKind.LocalizedString(printer))}
}

func pointerTo(steps []string) string {
	var b strings.Builder
	for _, step := range steps {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	return b.String()
}

// hugeNumber finds a number that would take long to calculate with: 1e999999 has a
// million digits.
func hugeNumber(value any) (pointer string, found bool) {
	switch value := value.(type) {
	case json.Number:
		text := string(value)
		digits, power, _ := strings.Cut(strings.ToLower(text), "e")
		n, err := strconv.Atoi(power)
		return "", len(digits) > maxNumber || power != "" && (err != nil || n > maxNumber || n < -maxNumber)
	case map[string]any:
		for name, child := range value {
			if pointer, found := hugeNumber(child); found {
				return pointerTo([]string{name}) + pointer, true
			}
		}
	case []any:
		for i, child := range value {
			if pointer, found := hugeNumber(child); found {
				return "/" + strconv.Itoa(i) + pointer, true
			}
		}
	}
	return "", false
}

// says formats an error of the library as one line.
func says(err error) string {
	if wrong, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if inner, ok := errors.AsType[*jsonschema.ValidationError](wrong.Err); ok {
			for len(inner.Causes) > 0 {
				inner = inner.Causes[0]
			}
			return shortened(fmt.Sprintf("%q of the schema: %s", pointerTo(inner.InstanceLocation), inner.ErrorKind.LocalizedString(printer)))
		}
	}
	return shortened(err.Error())
}

func shortened(text string) string {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, location, "")), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return text
}
