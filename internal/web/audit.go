package web

import (
	"bufio"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// auditLine is an entry of the audit log.
type auditLine struct {
	At                  moment
	Who, WhoID          string
	Act, Object         string
	ObjectID, Href      string
	Tenant, From        string
	Outcome, Tone       string
	Detail, Request, ID string
}

// pages of the objects of the audit log.
var objectPages = map[string]string{"endpoint": "endpoints/", "delivery": "deliveries/", "event": "events/", "tenant": "tenants/", "replay": "replays/"}

func (v *visit) auditLines(rows []hook.AuditEntry) []auditLine {
	out := make([]auditLine, 0, len(rows))
	for i := range rows {
		e := &rows[i]
		line := auditLine{At: when(e.At, v.now), Who: e.Actor.Kind, WhoID: e.Actor.ID, Act: string(e.Act), Object: e.Object, ObjectID: e.ObjectID, Tenant: e.Tenant, From: e.Actor.Address,
			Outcome: e.Outcome, Detail: e.Detail, Request: e.Actor.Request, ID: e.ID.String(), Tone: "muted"}
		if e.Outcome != hook.AuditOK {
			line.Tone = "tone bad"
		}
		if page, ok := objectPages[e.Object]; ok && e.ObjectID != "" {
			line.Href = v.at(page + e.ObjectID)
			if e.Object == "event" {
				line.Href = v.at(page+e.ObjectID, "tenant", e.Tenant)
			}
		}
		out = append(out, line)
	}
	return out
}

// auditFilter are the parameters of the audit log.
var auditFilter = []string{"actor", "act", "object", "object_id", "tenant", "since", "after", "before"}

func (v *visit) auditQuery(filter map[string]string) (q hook.AuditQuery, err error) {
	q = hook.AuditQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Actor: filter["actor"], Act: filter["act"], Object: filter["object"], ObjectID: filter["object_id"]}
	q.After, q.Before, err = v.bounds()
	return q, err
}

func auditLog(v *visit) (*screen, error) {
	filter := v.filters(auditFilter...)
	q, err := v.auditQuery(filter)
	var rows []hook.AuditEntry
	next := ""
	if err == nil {
		q.Page = hook.Page{Cursor: v.query.Get("cursor"), Limit: 100}
		rows, next, err = v.service().AuditEntries(v.quiet, v.caller, q)
	}
	l, err := v.list("audit", filter, next, err)
	if err != nil {
		return nil, err
	}
	if len(rows) > 0 {
		l.Shown = shown(len(rows), rows[len(rows)-1].At, v.now)
	}
	chain, sound := "", true
	if l.Words == "" && len(rows) > 0 {
		chain, sound = chainWords(rows)
	}
	with := pairs(filter)
	return &screen{Template: "audit.html", Title: "Audit log", Heading: "Audit log", Nav: "audit", Commands: []string{"posthorn audit list" + flags(filter, "act", "tenant"), "posthorn audit verify"},
		API: []string{"GET /v1/audit" + queryOf(filter, "act", "object", "object_id", "actor", "tenant", "after", "before")},
		Data: struct {
			listed
			Lines     []auditLine
			Chain     string
			Sound     bool
			CSV, JSON string
		}{l, v.auditLines(rows), chain, sound, v.at("audit/download", append(with, "as", "csv")...), v.at("audit/download", append(with, "as", "ndjson")...)}}, nil
}

// chainWords checks the hashes of the entries of a page, and says how far they reach.
func chainWords(rows []hook.AuditEntry) (says string, sound bool) {
	var check hook.AuditCheck
	for _, e := range rows {
		if err := check.Add(e); err != nil {
			if f, ok := errors.AsType[*hook.AuditFault](err); ok {
				return "The chain is broken at entry " + f.Entry.ID.String() + ": " + f.Why + ".", false
			}
		}
	}
	newest := rows[0]
	return "Hashes of this page checked back to " + check.Until.UTC().Format("2 Jan 15:04:05") + " UTC: no entry is changed or missing. The newest hash is " + hex.EncodeToString(newest.Hash[:8]) + "…", true
}

// maxDownload limits the entries of a download.
const maxDownload = 10_000

// guarded writes a cell that spreadsheets do not take for a formula.
func guarded(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// auditTime is the form of times in a download.
const auditTime = "2006-01-02T15:04:05.000000Z"

// auditCells returns the row of an entry in a download as CSV.
func auditCells(e *hook.AuditEntry) []string {
	cells := []string{e.ID.String(), e.At.UTC().Format(auditTime), e.Mode.String(), e.Tenant, e.Actor.Kind, e.Actor.ID, e.Actor.Address, e.Actor.Request, string(e.Act), e.Object, e.ObjectID,
		e.Outcome, e.Detail, strconv.FormatInt(e.Chain, 10), strconv.FormatInt(e.Sequence, 10), hex.EncodeToString(e.Hash[:])}
	for i := range cells {
		cells[i] = guarded(cells[i])
	}
	return cells
}

// auditDownload sends the entries that pass the filter as a file, newest first, page by page.
func auditDownload(v *visit) (*screen, error) {
	q, err := v.auditQuery(v.filters(auditFilter...))
	if err != nil {
		return nil, err
	}
	q.Limit = 250
	rows, next, err := v.service().AuditEntries(v.quiet, v.caller, q)
	if err != nil {
		return nil, err // nothing was sent yet
	}
	out := bufio.NewWriter(v.w)
	asCSV := v.query.Get("as") == "csv"
	sheet, lines := csv.NewWriter(out), json.NewEncoder(out)
	if asCSV {
		v.attach("audit.csv", -1)
		_ = sheet.Write([]string{"id", "at", "mode", "tenant", "actor_kind", "actor_id", "address", "request_id", "act", "object", "object_id", "outcome", "detail", "chain", "sequence", "hash"})
	} else {
		v.attach("audit.ndjson", -1)
	}
	for sent := 0; ; {
		for i := range rows {
			e := &rows[i]
			if asCSV {
				_ = sheet.Write(auditCells(e))
				continue
			}
			at, hash := e.At.UTC().Format(auditTime), hex.EncodeToString(e.Hash[:])
			_ = lines.Encode(map[string]any{"id": e.ID.String(), "at": at, "mode": e.Mode.String(), "tenant": e.Tenant, "actor": map[string]string{"kind": e.Actor.Kind, "id": e.Actor.ID, "address": e.Actor.Address},
				"request_id": e.Actor.Request, "act": e.Act, "object": e.Object, "object_id": e.ObjectID, "outcome": e.Outcome, "detail": e.Detail, "chain": map[string]any{"number": e.Chain, "sequence": e.Sequence, "hash": hash}})
		}
		if sent += len(rows); next == "" || sent >= maxDownload {
			break
		}
		q.Cursor = next
		if rows, next, err = v.service().AuditEntries(v.quiet, v.caller, q); err != nil {
			v.h.o.Log.WarnContext(v.ctx(), "download of the audit log broke off", "error", err)
			break // the file ends here
		}
	}
	sheet.Flush()
	_ = out.Flush() // the client disconnected
	return nil, nil
}
