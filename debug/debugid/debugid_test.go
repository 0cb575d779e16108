package debugid_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"salvage/debug/debugid"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, breakpad, text string }{
		{"DFB8E43AF2423D73A453AEB6A777EF75a", "DFB8E43AF2423D73A453AEB6A777EF75a", "dfb8e43a-f242-3d73-a453-aeb6a777ef75-a"},
		{"dfb8e43a-f242-3d73-a453-aeb6a777ef75-a", "DFB8E43AF2423D73A453AEB6A777EF75a", "dfb8e43a-f242-3d73-a453-aeb6a777ef75-a"},
		{"DFB8E43A-F242-3D73-A453-AEB6A777EF75-A", "DFB8E43AF2423D73A453AEB6A777EF75a", "dfb8e43a-f242-3d73-a453-aeb6a777ef75-a"},
		{"dfb8e43a-f242-3d73-a453-aeb6a777ef75a", "DFB8E43AF2423D73A453AEB6A777EF75a", "dfb8e43a-f242-3d73-a453-aeb6a777ef75-a"},
		{"dfb8e43a-f242-3d73-a453-aeb6a777ef75", "DFB8E43AF2423D73A453AEB6A777EF750", "dfb8e43a-f242-3d73-a453-aeb6a777ef75"},
		{"{DFB8E43A-F242-3D73-A453-AEB6A777EF75}", "DFB8E43AF2423D73A453AEB6A777EF750", "dfb8e43a-f242-3d73-a453-aeb6a777ef75"},
		{"DFB8E43AF2423D73A453AEB6A777EF75", "DFB8E43AF2423D73A453AEB6A777EF750", "dfb8e43a-f242-3d73-a453-aeb6a777ef75"},
		{"DFB8E43AF2423D73A453AEB6A777EF75-a", "DFB8E43AF2423D73A453AEB6A777EF75a", "dfb8e43a-f242-3d73-a453-aeb6a777ef75-a"},
		{"DFB8E43AF2423D73A453AEB6A777EF7512345678ffff", "DFB8E43AF2423D73A453AEB6A777EF7512345678", "dfb8e43a-f242-3d73-a453-aeb6a777ef75-12345678"},
		{"3249D99D2", "3249D99D2", "3249d99d-2"},
		{"3249d99d-2", "3249D99D2", "3249d99d-2"},
		{"3249d99d-00000002", "3249D99D2", "3249d99d-2"},
		{strings.Repeat("0", 33), strings.Repeat("0", 33), "00000000-0000-0000-0000-000000000000"},
	} {
		id, err := debugid.Parse(tt.in)
		if err != nil || id.Breakpad() != tt.breakpad || id.String() != tt.text {
			t.Errorf("Parse(%q) = %q, %q, %v, want %q, %q", tt.in, id.Breakpad(), id, err, tt.breakpad, tt.text)
			continue
		}
		for _, again := range []string{id.Breakpad(), id.String()} {
			if got, err := debugid.Parse(again); err != nil || got != id {
				t.Errorf("Parse(%q) = %v, %v, want %v", again, got, err, id)
			}
		}
	}
	for _, bad := range []string{
		"", "1234567", "12345678", "XXXXXXXXX", "3249D99Dx",
		"DFB8E43AF2423D73A453AEB6A777EF7", "DFB8E43AF2423D73A453AEB6A777EF7x0", "DFB8E43AF2423D73A453AEB6A777EF75x",
		"dfb8e43a-f2423d73-a453-aeb6a777ef75-1234", "dfb8e43a-f242-3d73-a453-aeb6a777ef75-", "DFB8E43AF2423D73A453AEB6A777EF75+1",
	} {
		if id, err := debugid.Parse(bad); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", bad, id)
		}
	}
}

func TestFrom(t *testing.T) {
	guid, _ := hex.DecodeString("98d1efe86ef8fe459ddbe11382b5d1c9")
	if got, want := debugid.FromGUID([16]byte(guid), 1).String(), "e8efd198-f86e-45fe-9ddb-e11382b5d1c9-1"; got != want {
		t.Errorf("FromGUID = %s, want %s", got, want)
	}
	build, _ := hex.DecodeString("f1c3bcc0279865fe3058404b2831d9e64135386c")
	if got, want := debugid.FromBuildID(build, false).Breakpad(), "C0BCC3F19827FE653058404B2831D9E60"; got != want {
		t.Errorf("FromBuildID = %s, want %s", got, want)
	}
	if got, want := debugid.FromBuildID(build[:8], true).Breakpad(), "F1C3BCC0279865FE00000000000000000"; got != want {
		t.Errorf("FromBuildID(8 bytes, big-endian) = %s, want %s", got, want)
	}
	if id := debugid.FromBuildID(make([]byte, 20), false); !id.IsZero() {
		t.Errorf("FromBuildID(zeros) = %v, want the zero ID", id)
	}
	if got, want := debugid.FromTimestamp(0x3249d99d, 2).Breakpad(), "3249D99D2"; got != want {
		t.Errorf("FromTimestamp = %s, want %s", got, want)
	}
}

func TestCodeID(t *testing.T) {
	for in, want := range map[string]debugid.CodeID{
		"5AB380779000": "5ab380779000", "DFB8E43A-F242": "dfb8e43af242", " x ": "", "": "",
	} {
		if got := debugid.ParseCodeID(in); got != want {
			t.Errorf("ParseCodeID(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := debugid.CodeIDFromPE(0x5ab38077, 0x9000), debugid.CodeID("5ab380779000"); got != want {
		t.Errorf("CodeIDFromPE = %s, want %s", got, want)
	}
	if got := debugid.CodeIDFromBuildID(make([]byte, 20)); got != "" {
		t.Errorf("CodeIDFromBuildID(zeros) = %s, want none", got)
	}
	if got := debugid.CodeIDFromBuildID([]byte{0xF1, 0xC3}); got != "f1c3" {
		t.Errorf("CodeIDFromBuildID = %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("dfb8e43a-f242-3d73-a453-aeb6a777ef75-a")
	f.Add("3249D99D2")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := debugid.Parse(s)
		if err != nil {
			return
		}
		for _, again := range []string{id.Breakpad(), id.String()} {
			if got, err := debugid.Parse(again); err != nil || got != id {
				t.Errorf("Parse(%q) = %v; Parse(%q) = %v, %v", s, id, again, got, err)
			}
		}
	})
}
