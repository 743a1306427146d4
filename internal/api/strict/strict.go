// Package strict parses untrusted JSON: UTF-8, no member twice (after unescaping),
// bounded depth, nothing after the value, no unknown members. It defines the messages
// of these refusals; all of them are of type *hook.Error.
//
// A text that it accepts means the same to every conforming parser. It never repairs
// its input and never logs it.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/hook"
)

// MaxDepth is the maximum nesting of arrays and objects (S-13).
const MaxDepth = 64

// Decode decodes one JSON value into v. A text that is not strict JSON is
// CodeInvalidJSON, a member that v does not have is CodeUnknownField, and a value of a
// wrong kind is CodeInvalidRequest. The last two name the member in Field.
func Decode(text []byte, v any) error {
	if err := CheckDepth(text, MaxDepth); err != nil {
		return err
	}
	err := json.Unmarshal(text, v, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return Syntax(syntactic)
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return &hook.Error{Code: hook.CodeInvalidJSON, Message: "The request body is not valid JSON.", Err: err}
	}
	field := Field(semantic.JSONPointer)
	if errors.Is(semantic.Err, json.ErrUnknownName) {
		return Unknown(field)
	}
	return Wrong(field, want(semantic.GoType))
}

// Unknown returns the error for an unknown member.
func Unknown(field string) error {
	return &hook.Error{Code: hook.CodeUnknownField, Field: field,
		Message: fmt.Sprintf("The member %q is not known.", field)}
}

// Wrong returns the error for a member with an invalid value. want continues the
// sentence after "must be", such as "a string".
func Wrong(field, want string) error {
	if field == "" {
		return &hook.Error{Code: hook.CodeInvalidRequest, Message: "The request body must be " + want + "."}
	}
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: field,
		Message: fmt.Sprintf("%q must be %s.", field, want)}
}

// Missing returns the error for a missing required member.
func Missing(field string) error {
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: field,
		Message: fmt.Sprintf("%q is required.", field)}
}

// Syntax converts an error of the JSON reader to a refusal with its position.
func Syntax(err error) error {
	e := &hook.Error{Code: hook.CodeInvalidJSON, Err: err}
	syntactic, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		e.Message = "The request body is not valid JSON: it ends too early."
		return e
	}
	reason := "not valid JSON"
	switch {
	case errors.Is(syntactic.Err, jsontext.ErrDuplicateName):
		reason = "a member is named twice"
	case strings.Contains(syntactic.Err.Error(), "UTF-8"):
		reason = "it is not UTF-8"
	case strings.Contains(syntactic.Err.Error(), "EOF"):
		reason = "it ends too early"
	}
	e.Message = fmt.Sprintf("The request body is not strict JSON: %s, at byte %d", reason, syntactic.ByteOffset)
	if at := Field(syntactic.JSONPointer); at != "" {
		e.Message += fmt.Sprintf(", at %q", at)
	}
	e.Message += "."
	return e
}

// Field formats a JSON pointer for hook.Error.
func Field(p jsontext.Pointer) string { return strings.TrimPrefix(string(p), "/") }

// CheckDepth refuses a text with more than limit nested arrays and objects. It assumes
// nothing about the text and allocates no memory.
func CheckDepth(text []byte, limit int) error {
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= limit {
		return nil // the common case; bytes.Count is fast
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return &hook.Error{Code: hook.CodeInvalidJSON, Message: fmt.Sprintf(
					"The request body is not strict JSON: more than %d levels, at byte %d.", MaxDepth, i)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// want describes the kind of value that a Go type accepts.
func want(t reflect.Type) string {
	if t == nil {
		return "another kind of value"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	}
	return "an object"
}
