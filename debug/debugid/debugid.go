// Package debugid names binaries: debug ids, which tie a binary to its debug information, and code
// ids, which identify the binary itself.
//
// It knows every spelling in use: Breakpad's, the hyphenated one of Symbolicator, PDB 2.0's, and the
// build ids of ELF files. It does no I/O; all types are plain comparable values.
//
// Text that is no id yields a *ParseError, never a panic.
package debugid

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ID is a debug id: the key under which debug information is found. The zero ID means "none".
// IDs compare with ==.
type ID struct {
	UUID [16]byte // network order; for PDB 2.0 the first four bytes hold the timestamp, big-endian
	Age  uint32   // PDB age; zero for ELF and Mach-O
	// PDB20 marks the id of a PDB 2.0 file, which has a timestamp in place of a GUID.
	PDB20 bool
}

// ParseError reports text that is no id.
type ParseError struct{ Text, Reason string }

func (e *ParseError) Error() string { return fmt.Sprintf("invalid debug id %q: %s", e.Text, e.Reason) }

// Parse reads a debug id in any spelling:
//
//	DFB8E43AF2423D73A453AEB6A777EF75a        Breakpad: UUID, age in hex without padding
//	dfb8e43a-f242-3d73-a453-aeb6a777ef75-a   hyphenated, the age optional
//	{DFB8E43A-F242-3D73-A453-AEB6A777EF75}   with braces, as Windows tools print GUIDs
//	3249D99D2                                PDB 2.0: timestamp, age (9 to 16 digits)
//
// Case does not matter. Digits of the age beyond eight are ignored, as the rust-minidump and
// Sentry tools do, so that an over-long id still finds its file.
func Parse(s string) (ID, error) {
	fail := func(reason string) (ID, error) { return ID{}, &ParseError{s, reason} }
	t := s
	if n := len(t); n >= 2 && t[0] == '{' && t[n-1] == '}' {
		t = t[1 : n-1]
	}
	if strings.HasSuffix(t, "-") {
		return fail("ends in a hyphen")
	}
	// A hyphen after the eighth digit tells the hyphenated spelling of both kinds of id.
	hyphens := len(t) > 8 && t[8] == '-'
	if digits := len(t); digits >= 9 && (digits <= 16 || hyphens && digits == 17) {
		stamp, age := t[:8], t[8:]
		if hyphens {
			age = age[1:]
		}
		var id ID
		if _, err := hex.Decode(id.UUID[:4], []byte(stamp)); err != nil {
			return fail("timestamp is not hexadecimal")
		}
		v, err := parseAge(age)
		if err != nil {
			return fail("age is not hexadecimal")
		}
		id.Age, id.PDB20 = v, true
		return id, nil
	}
	uuid, age := t, ""
	if hyphens {
		if len(t) < 36 || t[13] != '-' || t[18] != '-' || t[23] != '-' {
			return fail("hyphens at unexpected places")
		}
		uuid, age = t[:8]+t[9:13]+t[14:18]+t[19:23]+t[24:36], t[36:]
	} else {
		if len(t) < 32 {
			return fail("fewer than 32 digits")
		}
		uuid, age = t[:32], t[32:]
	}
	var id ID
	if _, err := hex.Decode(id.UUID[:], []byte(uuid)); err != nil {
		return fail("UUID is not hexadecimal")
	}
	age = strings.TrimPrefix(age, "-")
	if age == "" {
		return id, nil
	}
	v, err := parseAge(age)
	if err != nil {
		return fail("age is not hexadecimal")
	}
	id.Age = v
	return id, nil
}

func parseAge(s string) (uint32, error) {
	for i := range s {
		if !isHex(s[i]) {
			return 0, strconv.ErrSyntax
		}
	}
	v, err := strconv.ParseUint(s[:min(len(s), 8)], 16, 32)
	return uint32(v), err
}

// FromGUID returns the id of a PDB 7.0 record: a GUID as it lies in a little-endian file (its first
// three fields are byte-swapped against the text form) and an age.
func FromGUID(guid [16]byte, age uint32) ID { return ID{UUID: swapGUID(guid), Age: age} }

// FromTimestamp returns the id of a PDB 2.0 record.
func FromTimestamp(stamp, age uint32) ID {
	return ID{UUID: [16]byte{byte(stamp >> 24), byte(stamp >> 16), byte(stamp >> 8), byte(stamp)}, Age: age, PDB20: true}
}

// FromBuildID returns the debug id of an ELF file: the first 16 bytes of its build id, zero-padded,
// read as a GUID in the file's byte order. An empty or all-zero build id gives the zero ID.
func FromBuildID(build []byte, bigEndian bool) ID {
	var g [16]byte
	copy(g[:], build)
	if bigEndian {
		return ID{UUID: g}
	}
	return ID{UUID: swapGUID(g)}
}

func swapGUID(g [16]byte) [16]byte {
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
	return g
}

// IsZero reports whether the id says "none": such an id is never a key.
func (id ID) IsZero() bool { return id.UUID == [16]byte{} && id.Age == 0 }

// Breakpad returns the spelling of Breakpad and of symbol server paths: upper-case UUID (or
// timestamp), lower-case age without padding. The zero ID is 33 zeros.
func (id ID) Breakpad() string {
	n := 16
	if id.PDB20 {
		n = 4
	}
	b := make([]byte, 0, 40)
	for _, x := range id.UUID[:n] {
		const digits = "0123456789ABCDEF"
		b = append(b, digits[x>>4], digits[x&15])
	}
	return string(strconv.AppendUint(b, uint64(id.Age), 16))
}

// String returns the hyphenated lower-case spelling, the age only where it is not zero (and always
// for PDB 2.0).
func (id ID) String() string {
	h := hex.EncodeToString(id.UUID[:])
	if id.PDB20 {
		return h[:8] + "-" + strconv.FormatUint(uint64(id.Age), 16)
	}
	s := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	if id.Age != 0 {
		s += "-" + strconv.FormatUint(uint64(id.Age), 16)
	}
	return s
}

// CodeID identifies a binary: the build id of an ELF file, the UUID of a Mach-O, timestamp and size
// of a PE. It holds lower-case hex digits only; the empty CodeID means "none".
type CodeID string

// ParseCodeID keeps the hex digits of s, lower-cased, whatever stands between them: the rule of the
// symbol servers in use. Text without any gives the empty CodeID.
func ParseCodeID(s string) CodeID {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; isHex(c) {
			if c < 'a' && c > '9' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
	}
	return CodeID(b)
}

// CodeIDFromBuildID returns the code id of an ELF file; an all-zero build id gives the empty CodeID.
func CodeIDFromBuildID(build []byte) CodeID {
	for _, b := range build {
		if b != 0 {
			return CodeID(hex.EncodeToString(build))
		}
	}
	return ""
}

// CodeIDFromPE returns the code id of a PE image from its header's timestamp and image size.
func CodeIDFromPE(timestamp, sizeOfImage uint32) CodeID {
	return CodeID(fmt.Sprintf("%08x%x", timestamp, sizeOfImage))
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
