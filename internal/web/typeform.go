package web

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// typeFields are the fields of the form of an event type.
var typeFields = []string{"name", "description", "group", "version", "schema", "example", "use", "check", "searchable", "redact", "hidden", "deprecated", "replacement", "changed"}

// typeForm is the content of the form of an event type and of one of its versions.
type typeForm struct {
	formValues
	Action, Back string
	New          bool // the type does not exist yet
	Version      int
	NewVersion   bool // the version does not exist yet
	Current      bool // the version is the one for events that name none
	Kept         int  // of a new version: the one before it
	Checks       []choice
	Differs      []difference
}

// typeForm shows the form for one version of an event type; old is nil for a new type.
func (v *visit) typeForm(f formValues, old *hook.EventType, version int) *screen {
	p := &typeForm{formValues: f, New: old == nil, Version: version, Current: old == nil || old.Version == version, Action: v.at("type/new"), Back: v.at("types")}
	s := &screen{Template: "typeform.html", Title: "New event type", Heading: "New event type", Nav: "types", Data: p,
		Commands: []string{"posthorn event-type create --name payment.settled --description \"A payment arrived\" --schema @schema.json"}}
	if old != nil {
		all := old.Versions()
		p.Back, p.Action = v.typeHref(old.Name), v.typeAct("edit", old.Name)
		p.NewVersion, p.Kept = !hasVersion(old, version), old.Version
		s.Title, s.Heading = "Change "+old.Name, "Change "+old.Name
		switch {
		case p.NewVersion:
			s.Heading = fmt.Sprintf("New version %d of %s", version, old.Name)
		case len(all) > 1:
			s.Heading += ", version " + strconv.Itoa(version)
		}
		s.Commands = []string{"posthorn event-type update " + argument(old.Name) + " --version " + strconv.Itoa(version) + " --schema @schema.json"}
	}
	for e, name := range enforceNames {
		p.Checks = append(p.Checks, choice{Name: name, Value: hook.Enforce(e).String(), Current: f.Value["check"] == hook.Enforce(e).String()})
	}
	if len(f.Problem) > 0 || f.Top != "" {
		s.Status = http.StatusUnprocessableEntity
	}
	return s
}

// enforceNames are the choices of how a schema is enforced, by hook.Enforce.
var enforceNames = []string{"Not at all", "Warn the publisher, and accept", "Refuse what does not match"}

func hasVersion(t *hook.EventType, version int) bool {
	return slices.ContainsFunc(t.Versions(), func(one hook.TypeVersion) bool { return one.Version == version })
}

// typeAct returns the path of an act on an event type.
func (v *visit) typeAct(act, name string) string {
	return v.at("type/" + act + "/" + strings.TrimPrefix(v.typeHref(name), v.at("types/")))
}

func newType(v *visit) (*screen, error) {
	return v.typeForm(fresh("check", hook.EnforceOff.String(), "version", "1"), nil, 1), nil
}

// valuesOfType returns the fields of a version of an event type as its form shows them. A
// version that the type does not have begins as the one for events that name none.
func valuesOfType(t *hook.EventType, version int) []string {
	shown := t.TypeVersion
	for _, one := range t.Others {
		if one.Version == version {
			shown = one
		}
	}
	var searchable []string
	for _, s := range t.Searchable {
		searchable = append(searchable, s.Tag+" "+s.Pointer)
	}
	return []string{"name", t.Name, "description", t.Description, "group", t.Group, "version", strconv.Itoa(version), "schema", prettyText(shown.Schema), "example", prettyText(shown.Example),
		"use", yesIf(!hasVersion(t, version)), "check", t.Enforce.String(), "searchable", strings.Join(searchable, "\n"), "redact", strings.Join(t.Redact, "\n"),
		"hidden", yesIf(t.Hidden), "deprecated", yesIf(t.Deprecated), "replacement", t.Replacement, "changed", stampOf(t)}
}

func prettyText(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	return string(page.Pretty(raw))
}

func yesIf(yes bool) string {
	if yes {
		return "yes"
	}
	return ""
}

// stampOf tells the states of an entry apart.
func stampOf(t *hook.EventType) string { return strconv.FormatInt(t.UpdatedAt.UnixMicro(), 36) }

// wantedVersion returns the version that the URL names: a number, "new", or none for the one
// of events that name none.
func wantedVersion(t *hook.EventType, text string) (int, error) {
	all := t.Versions()
	switch text {
	case "":
		return t.Version, nil
	case "new":
		return all[len(all)-1].Version + 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || !hasVersion(t, n) {
		return 0, hook.NotFound("version")
	}
	return n, nil
}

func editType(v *visit) (*screen, error) {
	t, err := v.service().EventType(v.ctx(), v.caller, v.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	version, err := wantedVersion(&t, v.query.Get("version"))
	if err != nil {
		return nil, err
	}
	return v.typeForm(fresh(valuesOfType(&t, version)...), &t, version), nil
}

// object parses a field that holds a JSON object, or nothing. The text is kept as it was
// typed, without white space.
func (f *formValues) object(name string) []byte {
	text := strings.TrimSpace(f.Value[name])
	if text == "" {
		return nil
	}
	d := jsontext.NewDecoder(strings.NewReader(text))
	raw, err := d.ReadValue()
	if err == nil && raw.Kind() != '{' {
		f.Problem[name] = "This must be a JSON object: it begins with { and ends with }."
		return nil
	}
	if rest := ""; err == nil {
		if rest = strings.TrimSpace(text[d.InputOffset():]); rest != "" {
			f.Problem[name] = fmt.Sprintf("There is more text after the object, from line %d.", 1+strings.Count(text[:d.InputOffset()], "\n"))
			return nil
		}
	}
	if err != nil {
		at := d.InputOffset()
		if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			at = e.ByteOffset
		}
		f.Problem[name] = fmt.Sprintf("This is not valid JSON, in line %d.", 1+strings.Count(text[:min(int(at), len(text))], "\n"))
		if errors.Is(err, jsontext.ErrDuplicateName) {
			f.Problem[name] = fmt.Sprintf("The same member is there twice, in line %d.", 1+strings.Count(text[:min(int(at), len(text))], "\n"))
		}
		return nil
	}
	out := slices.Clone(raw)
	if err := out.Compact(); err != nil {
		f.Problem[name] = "This is not valid JSON."
		return nil
	}
	return bytes.Clone(out)
}

// lines returns the lines of a field that hold something.
func (f *formValues) lines(name string) (out []string) {
	for line := range strings.Lines(f.Value[name]) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// entry returns the event type that a form describes, with its version as the only one.
func (f *formValues) entry() hook.EventType {
	t := hook.EventType{Name: strings.TrimSpace(f.Value["name"]), Description: strings.TrimSpace(unixLines(f.Value["description"])), Group: strings.TrimSpace(f.Value["group"]),
		Deprecated: f.Value["deprecated"] == "yes", Replacement: strings.TrimSpace(f.Value["replacement"]), Hidden: f.Value["hidden"] == "yes", Redact: f.lines("redact")}
	t.Schema, t.Example = f.object("schema"), f.object("example")
	n, err := strconv.Atoi(f.Value["version"])
	if t.Version = n; err != nil {
		f.Problem["version"] = "This must be a number."
	}
	ok := false
	if t.Enforce, ok = hook.ParseEnforce(f.Value["check"]); !ok {
		f.Problem["check"] = "This must be off, warn or reject."
	}
	for _, line := range f.lines("searchable") {
		tag, pointer, _ := strings.Cut(line, " ")
		t.Searchable = append(t.Searchable, hook.Searchable{Tag: tag, Pointer: strings.TrimSpace(pointer)})
	}
	slices.SortFunc(t.Searchable, func(a, b hook.Searchable) int { return strings.Compare(a.Tag, b.Tag) })
	for i := 1; i < len(t.Searchable); i++ {
		if t.Searchable[i].Tag == t.Searchable[i-1].Tag {
			f.Problem["searchable"] = "The tag " + strconv.Quote(t.Searchable[i].Tag) + " is there twice."
		}
	}
	return t
}

func createType(v *visit) (*screen, string, error) {
	f := v.filled(typeFields...)
	t := f.entry()
	if len(f.Problem) > 0 {
		return v.typeForm(f, nil, 1), "", nil
	}
	made, again, err := v.service().CreateEventType(v.ctx(), v.caller, t, v.once("types", &f, func(result any) string {
		e, _ := result.(hook.EventType)
		return e.Name
	}))
	switch {
	case err != nil && f.refuse(err):
		return v.typeForm(f, nil, 1), "", nil
	case err != nil:
		return nil, "", err
	case again != nil:
		made.Name = string(again.Body)
	}
	return nil, v.typeHref(made.Name) + "?done=typemade", nil
}

// errTypeChanged is the answer to a form of an event type that somebody else changed meanwhile.
var errTypeChanged = &hook.Error{Code: hook.CodePrecondition, Message: "Somebody else changed the event type meanwhile. Nothing of yours was saved yet."}

// unchangedType refuses a change of an entry that is not in the given state any more.
func unchangedType(stamp string) func(hook.EventType) error {
	return func(now hook.EventType) error {
		if stampOf(&now) != stamp {
			return errTypeChanged
		}
		return nil
	}
}

// withVersion returns the versions of an entry with one replaced or added, which may become
// the one for events that name none.
func withVersion(old *hook.EventType, next hook.TypeVersion, use bool) (current hook.TypeVersion, others []hook.TypeVersion) {
	others = slices.DeleteFunc(old.Versions(), func(one hook.TypeVersion) bool { return one.Version == next.Version })
	if use || next.Version == old.Version {
		return next, others
	}
	others = slices.DeleteFunc(others, func(one hook.TypeVersion) bool { return one.Version == old.Version })
	return old.TypeVersion, append(others, next)
}

func changeType(v *visit) (*screen, string, error) {
	old, err := v.service().EventType(v.ctx(), v.caller, v.r.PathValue("name"))
	if err != nil {
		return nil, "", err
	}
	f := v.filled(typeFields...)
	f.Value["name"] = old.Name
	t := f.entry()
	if next, _ := wantedVersion(&old, "new"); t.Version != next && !hasVersion(&old, t.Version) && f.Problem["version"] == "" {
		f.Problem["version"] = fmt.Sprintf("The event type has the versions %s, and the next one is %d.", hook.VersionList(old.Versions()), next)
	}
	if len(f.Problem) > 0 {
		return v.typeForm(f, &old, t.Version), "", nil
	}
	current, others := withVersion(&old, t.TypeVersion, f.Value["use"] == "yes")
	_, err = v.service().UpdateEventType(v.ctx(), v.caller, old.Name, app.EventTypeChange{Description: &t.Description, Group: &t.Group, Version: &current.Version, Schema: &current.Schema, Example: &current.Example,
		Others: &others, Enforce: &t.Enforce, Searchable: &t.Searchable, Deprecated: &t.Deprecated, Replacement: &t.Replacement, Hidden: &t.Hidden, Redact: &t.Redact, Check: unchangedType(f.Value["changed"])})
	if err == nil {
		return nil, v.typeHref(old.Name) + "?done=typechanged", nil
	}
	if hook.CodeOf(err) == hook.CodePrecondition {
		return v.typeChangedMeanwhile(f, t.Version)
	}
	f.blameVersion(err, others, t.Version)
	if len(f.Problem) > 0 || f.refuse(err) {
		return v.typeForm(f, &old, t.Version), "", nil
	}
	return nil, "", err
}

// blameVersion notes an error about another version than the one for events that name none
// beside its field, if the form is about that version.
func (f *formValues) blameVersion(err error, others []hook.TypeVersion, version int) {
	e, ok := errors.AsType[*hook.Error](err)
	if !ok {
		return
	}
	for i, one := range others {
		name, found := strings.CutPrefix(e.Field, fmt.Sprintf("other_versions/%d/", i))
		if found && one.Version == version {
			f.Problem[name] = strings.ReplaceAll(e.Message, e.Field, name)
		}
	}
}

// typeChangedMeanwhile shows both states side by side. Saving again writes the own one.
func (v *visit) typeChangedMeanwhile(f formValues, version int) (*screen, string, error) {
	now, err := v.service().EventType(v.ctx(), v.caller, f.Value["name"])
	if err != nil {
		return nil, "", err
	}
	var differs []difference
	current := valuesOfType(&now, version)
	for i := 0; i < len(current); i += 2 {
		name, other := current[i], current[i+1]
		if name != "changed" && name != "use" && strings.Join(strings.Fields(f.Value[name]), " ") != strings.Join(strings.Fields(other), " ") {
			differs = append(differs, difference{name, f.Value[name], other})
		}
	}
	f.Value["changed"] = stampOf(&now)
	f.Top = errTypeChanged.Message + " Compare the two below: saving again writes your values over the others."
	s := v.typeForm(f, &now, version)
	s.Status = http.StatusPreconditionFailed
	p, _ := s.Data.(*typeForm)
	p.Differs = differs
	return s, "", nil
}

func confirmDeleteType(v *visit) (*screen, error) {
	t, err := v.service().EventType(v.ctx(), v.caller, v.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return asks("types", "Delete the event type "+t.Name+"?", confirm{Back: v.typeHref(t.Name), Buttons: []button{{Action: v.typeAct("delete", t.Name), Label: "Delete the event type", Danger: true}},
		Says: []string{"The catalogue forgets its description, schemas and examples. It cannot be undone.", "Events of this type can be published all the same, unchecked, and endpoints that want it get them. To let receivers know that it ends, mark it as deprecated instead."}}), nil
}

func deleteType(v *visit) (string, error) {
	return v.at("types", "done", "typedeleted"), v.service().DeleteEventType(v.ctx(), v.caller, v.r.PathValue("name"))
}

func confirmDropVersion(v *visit) (*screen, error) {
	t, err := v.service().EventType(v.ctx(), v.caller, v.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	n, err := wantedVersion(&t, v.query.Get("version"))
	if err != nil {
		return nil, err
	}
	c := confirm{Back: v.typeHref(t.Name), Says: []string{"Its schema and example are forgotten, and events that name version " + strconv.Itoa(n) + " are no longer checked against them. It cannot be undone."},
		Buttons: []button{{Action: v.typeAct("drop", t.Name), Label: fmt.Sprintf("Remove version %d", n), Danger: true, Fields: [][2]string{{"version", strconv.Itoa(n)}, {"changed", stampOf(&t)}}}}}
	if n == t.Version {
		c.Says, c.Buttons = []string{"This is the version for events that name none. Make another one that first, or delete the event type."}, nil
	}
	return asks("types", fmt.Sprintf("Remove version %d of %s?", n, t.Name), c), nil
}

func dropVersion(v *visit) (string, error) {
	t, err := v.service().EventType(v.ctx(), v.caller, v.r.PathValue("name"))
	if err != nil {
		return "", err
	}
	n, err := wantedVersion(&t, v.r.PostForm.Get("version"))
	if err == nil && n == t.Version {
		err = &hook.Error{Code: hook.CodeInvalidRequest, Field: "version", Message: "Version " + strconv.Itoa(n) + " is the one for events that name none. Make another one that first. Nothing was removed."}
	}
	if err != nil {
		return "", err
	}
	others := slices.DeleteFunc(slices.Clone(t.Others), func(one hook.TypeVersion) bool { return one.Version == n })
	_, err = v.service().UpdateEventType(v.ctx(), v.caller, t.Name, app.EventTypeChange{Others: &others, Check: unchangedType(v.r.PostForm.Get("changed"))})
	return v.typeHref(t.Name) + "?done=versiondropped", err
}
