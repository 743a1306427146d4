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

// MaxFileSize bounds a profile file, in bytes.
const MaxFileSize = 1 << 20

// The bounds of headers. Names and values are in bytes.
const (
	maxHeaders    = 32
	maxHeaderName = 64
	maxHeaderText = 4 << 10
)

// defaultUserAgent names the product when a profile names nothing.
const defaultUserAgent = "Posthorn/1"

var (
	profileName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	headerName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // token of RFC 9110, section 5.6.2
	yamlLine    = regexp.MustCompile(`line (\d+): (.*)`)
	// The YAML library counts lines from 0 in these messages, from 1 in others.
	yamlFromZero = regexp.MustCompile(`^did not find expected (<document|node|'-'|key|',' or)`)
)

// reservedHeaders belong to the connection, the framing or a member of their own,
// and so does everything that starts with content- or proxy-.
var reservedHeaders = []string{"host", "connection", "expect", "http2-settings", "keep-alive", "te", "trailer",
	"transfer-encoding", "upgrade", "user-agent", "cdn-loop"}

// Load reads a profile. Everything that could go wrong later is checked here: the
// error is a *FileError that names the file, the line and the reason. The name
// given for the file is used for that only. Load keeps a copy of the text.
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

// parse reads the file's one YAML document.
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

// failYAML names the line the YAML library does, which for a mistake inside a list
// or mapping is where that begins.
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

// refuseTricks keeps a small file from standing for a huge or an endless one, and
// a value from being another type than it looks.
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
		p.management = v.word("none", "paysway", "paywise")
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
// should look for.
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

// readEventType reads a type and its data, which is a JSON object in a text: what
// stands in the file is what goes on the wire.
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
