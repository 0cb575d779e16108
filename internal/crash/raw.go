package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MinidumpName is the dump that is walked.
const MinidumpName = "upload_file_minidump"

// Raw is a raw crash: the annotations that a client sent and what the collector has to say about them.
type Raw struct {
	ID        ID
	Submitted time.Time
	// Annotations by name. Values are strings, or whatever a client put into its JSON.
	Annotations map[string]any
	Metadata    Metadata
}

// Metadata is what the collector knows of a submission.
type Metadata struct {
	CollectorNotes    []string          `json:"collector_notes"`
	DumpChecksums     map[string]string `json:"dump_checksums"` // SHA-256 in hex by dump name
	Payload           string            `json:"payload"`        // "json" or "multipart"
	PayloadCompressed string            `json:"payload_compressed"`
	PayloadSize       int64             `json:"payload_size"` // bytes received, before inflating
	ThrottleRule      string            `json:"throttle_rule"`
	UserAgent         string            `json:"user_agent"`
}

// Version of the raw crash format: Antenna's.
const rawVersion = 2

// timeFormat is ISO 8601 with microseconds and a numeric zone, as Antenna writes it.
const timeFormat = "2006-01-02T15:04:05.000000-07:00"

// reserved are names that the collector gives; what a client sends under them is lost.
var reserved = []string{"metadata", "submitted_timestamp", "uuid", "version"}

// MarshalJSON writes one object of annotations and the collector's own keys, sorted.
func (r *Raw) MarshalJSON() ([]byte, error) {
	all := make(map[string]any, len(r.Annotations)+len(reserved))
	for k, v := range r.Annotations {
		all[k] = v
	}
	all["metadata"], all["uuid"], all["version"] = r.Metadata, r.ID, rawVersion
	all["submitted_timestamp"] = r.Submitted.UTC().Format(timeFormat)
	return Marshal(all)
}

// Visible returns what a reader may see of the raw crash: for the public the annotations that anybody may
// read, without what the collector knows of the submission.
func (r *Raw) Visible(protected bool) ([]byte, error) {
	if protected {
		return json.Marshal(r)
	}
	public := map[string]any{"uuid": r.ID, "version": rawVersion, "submitted_timestamp": r.Submitted.UTC().Format(timeFormat)}
	for name, value := range r.Annotations {
		if PublicAnnotation(name) {
			public[name] = value
		}
	}
	return Marshal(public)
}

// UnmarshalJSON reads what MarshalJSON writes. Annotations that may not be kept, from before they were
// removed at ingestion, are dropped.
func (r *Raw) UnmarshalJSON(data []byte) error {
	var own struct {
		ID        ID       `json:"uuid"`
		Submitted string   `json:"submitted_timestamp"`
		Metadata  Metadata `json:"metadata"`
	}
	if err := json.Unmarshal(data, &own); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil {
		return err
	}
	for _, k := range reserved {
		delete(all, k)
	}
	t, err := time.Parse(time.RFC3339Nano, own.Submitted)
	if err != nil {
		return fmt.Errorf("submitted_timestamp: %w", err)
	}
	*r = Raw{ID: own.ID, Submitted: t, Annotations: all, Metadata: own.Metadata}
	r.removeForbidden()
	return nil
}

// Clean removes what may not be kept, with a note for each, and what has a name of the collector's.
func (r *Raw) Clean() {
	for _, name := range r.removeForbidden() {
		r.Note("Removed %s from raw crash.", name)
	}
	for _, k := range reserved {
		delete(r.Annotations, k)
	}
}

func (r *Raw) removeForbidden() (removed []string) {
	for name := range r.Annotations {
		if Forbidden(name) {
			delete(r.Annotations, name)
			removed = append(removed, name)
		}
	}
	slices.Sort(removed)
	return removed
}

// Note adds a collector note.
func (r *Raw) Note(format string, args ...any) {
	r.Metadata.CollectorNotes = append(r.Metadata.CollectorNotes, fmt.Sprintf(format, args...))
}

// CleanDumpName returns the name under which a dump part is kept: letters, digits and underscores, at most
// 30 of them. It is empty if nothing is left.
func CleanDumpName(name string) string {
	clean := strings.Map(func(c rune) rune {
		if c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return c
		}
		return -1
	}, name)
	return clean[:min(len(clean), 30)]
}
