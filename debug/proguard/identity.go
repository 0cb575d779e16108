package proguard

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"salvage/debug/debugid"
)

// Identity names a mapping file.
type Identity struct {
	// ID is made of the whole content: a name-based UUID (version 5) below that of guardsquare.com, as
	// Sentry's tools have it. Gradle plugins put it into the program they built with the file.
	ID debugid.ID
	// MapID and MapHash are R8's: the hash is the SHA-256 of what follows it in the file, in hex, and the id
	// by default its first seven digits. Empty where there are none.
	MapID, MapHash string
	// Changed says that the content is not what MapHash was made of.
	Changed bool
}

// headerBytes is where R8's header ends at the latest.
const headerBytes = 16 << 10

// Identify returns the identity of a file. It does not look whether it is one: see Probe.
func Identify(data []byte) Identity {
	id := Identity{ID: debugid.ID{UUID: uuid5(guardsquare, data)}}
	offset := 0
	for line := range bytes.Lines(data[:min(len(data), headerBytes)]) {
		offset += len(line)
		comment, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("#"))
		if !ok {
			break
		}
		name, value, _ := strings.Cut(string(comment), ":")
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "pg_map_id":
			id.MapID = value
		case "pg_map_hash":
			if hash, ok := strings.CutPrefix(value, "SHA-256 "); ok && id.MapHash == "" {
				sum := sha256.Sum256(data[offset:])
				id.MapHash = strings.ToLower(strings.TrimSpace(hash))
				id.Changed = id.MapHash != hex.EncodeToString(sum[:])
			}
		}
	}
	return id
}

// MapIDOf returns the id in the name that R8 gives all source files where it is told to put its own there,
// such as r8-map-id-97820f6; empty for any other name.
func MapIDOf(file string) string {
	id, ok := strings.CutPrefix(file, "r8-map-id-")
	if !ok {
		return ""
	}
	return id
}

// Probe reports whether data, the start of a file or all of it, looks like a mapping: nothing but comments
// before a line of a class.
func Probe(data []byte) bool {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for line := range bytes.Lines(data[:min(len(data), headerBytes)]) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		r := reader{m: &Mapping{}}
		return !bytes.ContainsAny(line, "\"{};=[") && r.class(line, 0) == ""
	}
	return false
}

// guardsquare is the namespace: the UUID of ProGuard's maker in that of domain names (RFC 9562 §6.6).
var guardsquare = uuid5([16]byte{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}, []byte("guardsquare.com"))

func uuid5(namespace [16]byte, name []byte) (id [16]byte) {
	h := sha1.New()
	h.Write(namespace[:])
	h.Write(name)
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}
