package profile

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/hook"
)

// MaxFileSize is the maximum size of a profile file, in bytes.
const MaxFileSize = 1 << 20

// Limits of headers. Names and values are in bytes.
const (
	maxHeaders    = 32
	maxHeaderName = 64
	maxHeaderText = 4 << 10
)

// defaultUserAgent is the User-Agent of profiles that set none.
const defaultUserAgent = "Posthorn/1"

var (
	profileName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	headerName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // token of RFC 9110, section 5.6.2
	yamlLine    = regexp.MustCompile(`line (\d+): (.*)`)
	// The YAML library counts lines from 0 in these messages, and from 1 in others.
	yamlFromZero = regexp.MustCompile(`^did not find expected (<document|node|'-'|key|',' or)`)
)

// reservedHeaders belong to the connection, to the framing or to a member of their own.
// Names that start with content- or proxy- are reserved, too.
var reservedHeaders = []string{"host", "connection", "expect", "http2-settings", "keep-alive", "te", "trailer",
	"transfer-encoding", "upgrade", "user-agent", "cdn-loop"}

// Load loads a profile and checks everything that could fail later. The error is a
// *FileError with the name of the file, the line and the reason. The name is used only for
// errors. Load keeps a copy of the text.
func Load(name string, text []byte) (*Profile, error) {
	f := &file{name: name}
	p := &Profile{text: bytes.Clone(text), hash: hashOf(text)}
	if root, ok := f.parse(text); ok {
		p.read(root)
	}
	if f.err != nil {
		return nil, f.err
	}
	return p, nil
}

// parse parses the single YAML document of the file.
func (f *file) parse(text []byte) (value, bool) {
	if len(text) > MaxFileSize {
		f.fail(1, "the file is larger than %d bytes", MaxFileSize)
		return value{}, false
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, more yaml.Node
	if err := decoder.Decode(&document); err != nil {
		f.failYAML(err)
		f.err.Line = min(f.err.Line, 1+bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")))
		return value{}, false
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		f.fail(more.Line, "the file holds more than one document")
		return value{}, false
	}
	if len(document.Content) != 1 {
		f.fail(1, "the file is empty")
		return value{}, false
	}
	root := value{f, document.Content[0], ""}
	root.refuseTricks()
	return root, f.err == nil
}

// failYAML records an error of the YAML library at the line that the library reports. For a
// mistake inside a list or mapping, that is the line where the list or mapping starts.
func (f *file) failYAML(err error) {
	if errors.Is(err, io.EOF) {
		f.fail(1, "the file is empty")
		return
	}
	line, reason := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if found := yamlLine.FindStringSubmatch(reason); found != nil {
		line, _ = strconv.Atoi(found[1])
		reason = found[2]
	}
	if yamlFromZero.MatchString(reason) {
		line++
	}
	f.fail(line, "not YAML: %s", reason)
}

// refuseTricks refuses YAML that expands a small file into a huge or endless one, or that
// gives a value another type than it appears to have.
func (v value) refuseTricks() {
	switch {
	case v.node.Kind == yaml.AliasNode || v.node.Anchor != "":
		v.fail("anchors and aliases are not supported")
	case v.node.Style&yaml.TaggedStyle != 0:
		v.fail("tags are not supported")
	}
	for _, child := range v.node.Content {
		value{v.file, child, ""}.refuseTricks()
	}
}

func (p *Profile) read(root value) {
	m := root.section(&fileFields)
	name := m.get("name")
	p.name, p.nameLine = name.text(), name.node.Line
	if !profileName.MatchString(p.name) {
		name.fail("must be 1 to 63 of a-z, 0-9, dot, underscore and hyphen, and start with a letter or digit")
	}
	p.description = m.get("description").text()
	p.management = "none"
	if v := m.get("management"); v.present() {
		p.management = v.word("none", "paysway", "paywise", "svix")
	}
	if v := m.get("event_id"); v.present() {
		p.eventIDs = v.word("given", "uuid", "msg")
	}
	p.fixed = []hook.Header{
		{Name: "Content-Type", Value: readHeaderText(m.get("content_type"), "application/json")},
		{Name: "User-Agent", Value: readHeaderText(m.get("user_agent"), defaultUserAgent)},
	}
	p.secret = readSecret(m.get("secret"))
	p.readMode(m.get("mode"))
	p.readEnvelope(m.get("envelope"))
	p.readHeaders(m.get("headers"))
	p.readSignatures(m.get("signature"))
	p.policy = readPolicy(m)
	p.readURL(m.get("url"))
	p.readCatalogue(m.get("catalogue"), m.get("test_event"))
}

func readHeaderText(v value, absent string) string {
	if !v.present() {
		return absent
	}
	text := v.text()
	if text == "" || !visible(text) || strings.TrimSpace(text) != text || len(text) > maxHeaderText {
		v.fail("must be up to %d characters of printable ASCII without outer spaces", maxHeaderText)
	}
	return text
}

func (p *Profile) readHeaders(v value) {
	if !v.present() {
		return
	}
	m := v.mapping()
	if len(m.keys) > maxHeaders {
		v.fail("must hold at most %d headers", maxHeaders)
	}
	taken := map[string]bool{}
	for i, key := range m.keys {
		name := key.node.Value
		checkHeaderName(key, name)
		if taken[strings.ToLower(name)] {
			key.fail("header %s stands here twice", name)
		}
		taken[strings.ToLower(name)] = true
		text := readHeaderText(m.vals[i], "")
		parts, err := parseTemplate(text)
		if err != nil {
			m.vals[i].fail("%s", err)
		}
		if slices.Contains(parts, part{variable: eventData}) {
			m.vals[i].fail("$event.data does not fit into a header")
		}
		p.countMembers(m.vals[i], valuesIn(parts))
		p.headers = append(p.headers, headerTemplate{name: name, parts: parts})
	}
}

// countMembers refuses a profile that takes more values out of the data than rendering
// should look up.
func (p *Profile) countMembers(v value, n int) {
	if p.memberUses += n; p.memberUses > maxMemberUses && n > 0 {
		v.fail("is more than the %d values of the data that a profile may use", maxMemberUses)
	}
}

func checkHeaderName(v value, name string) {
	if !headerName.MatchString(name) || len(name) > maxHeaderName {
		v.fail("%.80q cannot be a header name", name)
	}
	lower := strings.ToLower(name)
	if slices.Contains(reservedHeaders, lower) || strings.HasPrefix(lower, "content-") || strings.HasPrefix(lower, "proxy-") {
		v.fail("header %s is not the profile's to set here", name)
	}
}

func (p *Profile) readURL(v value) {
	if v.present() {
		p.url.IPHosts = v.section(&urlFields).get("ip_hosts").flag()
	}
}

func (p *Profile) readCatalogue(list, test value) {
	p.test = readEventType(test.section(&testEventFields), "data")
	if !list.present() {
		return
	}
	seen := map[string]bool{}
	for _, item := range list.list() {
		m := item.section(&catalogueFields)
		entry := readEventType(m, "example")
		entry.Description = m.get("description").text()
		if seen[entry.Name] {
			item.fail("event type %s stands here twice", entry.Name)
		}
		seen[entry.Name] = true
		p.catalogue = append(p.catalogue, entry)
	}
}

// readEventType reads a type and its data. The data is a text that contains a JSON object,
// and is sent exactly as it appears in the file.
func readEventType(m members, data string) EventType {
	name, example := m.get("type"), m.get(data)
	entry := EventType{Name: name.text(), Example: []byte(strings.TrimSpace(example.text()))}
	if !hook.ValidType(entry.Name) {
		name.fail("%.150q cannot be an event type: it %s", entry.Name, hook.TypeFault(entry.Name))
	}
	if v := jsontext.Value(entry.Example); !v.IsValid() || v.Kind() != '{' {
		example.fail("must be a text that holds one JSON object without duplicate names")
	}
	return entry
}
