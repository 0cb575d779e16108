package minidump_test

import (
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

func TestModules(t *testing.T) {
	id := [16]byte{0x5a, 0x98, 0x32, 0xe5, 0x28, 0x72, 0x41, 0xc1, 0x83, 0x8e, 0xd9, 0x89, 0x14, 0xe9, 0xb7, 0xff}
	build := []byte{0xb0, 0x60, 0xad, 0x20, 0xc6, 0xb4, 0x77, 0x81, 0x55, 0x27, 0x08, 0xaa, 0x19, 0x2e, 0x77, 0x39, 0xfa, 0xc7, 0xc8, 0x4a}
	none := strings.Repeat("0", 33)
	for _, tt := range []struct {
		name                       string
		platform                   uint32
		codeView                   minidumptest.CodeView
		debugID, codeID, debugFile string
		bigDebugID                 string // if another in a big-endian dump
	}{
		{name: "PDB 7.0", platform: minidumptest.Windows, codeView: minidumptest.PDB70{UUID: id, Age: 10, File: `c:\a.pdb`},
			debugID: "5A9832E5287241C1838ED98914E9B7FFa", codeID: "45d35f6c2d000", debugFile: `c:\a.pdb`},
		{name: "PDB 7.0 without GUID", platform: minidumptest.Windows, codeView: minidumptest.PDB70{Age: 1, File: "a.pdb"},
			debugID: none, codeID: "45d35f6c2d000", debugFile: "a.pdb"},
		{name: "Mach-O", platform: minidumptest.MacOS, codeView: minidumptest.PDB70{UUID: id, File: "a"},
			debugID: "5A9832E5287241C1838ED98914E9B7FF0", codeID: "5a9832e5287241c1838ed98914e9b7ff", debugFile: "a"},
		{name: "Mach-O of iOS", platform: minidumptest.IOS, codeView: minidumptest.PDB70{UUID: id, File: "a"},
			debugID: "5A9832E5287241C1838ED98914E9B7FF0", codeID: "5a9832e5287241c1838ed98914e9b7ff", debugFile: "a"},
		{name: "PDB 2.0", platform: minidumptest.Windows, codeView: minidumptest.PDB20{Timestamp: 0x3249d99d, Age: 26, File: "b.pdb"},
			debugID: "3249D99D1a", codeID: "45d35f6c2d000", debugFile: "b.pdb"},
		{name: "ELF", platform: minidumptest.Linux, codeView: minidumptest.ELF{BuildID: build},
			debugID: "20AD60B0B4C68177552708AA192E77390", codeID: "b060ad20c6b47781552708aa192e7739fac7c84a", debugFile: "/lib/a b.so",
			bigDebugID: "B060AD20C6B47781552708AA192E77390"},
		{name: "ELF with a short id", platform: minidumptest.Linux, codeView: minidumptest.ELF{BuildID: build[:3]},
			debugID: "00AD60B00000000000000000000000000", codeID: "b060ad", debugFile: "/lib/a b.so", bigDebugID: "B060AD000000000000000000000000000"},
		{name: "ELF without id", platform: minidumptest.Linux, codeView: minidumptest.ELF{BuildID: make([]byte, 20)}, debugID: none, debugFile: "/lib/a b.so"},
		{name: "no record on Windows", platform: minidumptest.Windows, debugID: none, codeID: "45d35f6c2d000"},
		{name: "no record", platform: minidumptest.Linux, debugID: none},
		{name: "another record", platform: minidumptest.Windows, codeView: minidumptest.OtherCodeView("NB09 and more"), debugID: none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			orders(t, func(t *testing.T, b *minidumptest.Builder) {
				d := parse(t, b.System(minidumptest.System{Platform: tt.platform}).Module(minidumptest.Module{
					Addr: 0x7fff_0000_0000, Size: 0x2d000, Checksum: 3, Timestamp: 0x45d35f6c, Name: "/lib/a b.so", CodeView: tt.codeView,
				}))
				m := d.Modules[0]
				if m.Addr != 0x7fff_0000_0000 || m.Size != 0x2d000 || m.Checksum != 3 || m.Timestamp != 0x45d35f6c || m.Name != "/lib/a b.so" || m.Version != "" {
					t.Errorf("module %+v", m)
				}
				want := tt.debugID
				if b.BigEndian && tt.bigDebugID != "" {
					want = tt.bigDebugID
				}
				equal(t, "DebugID", m.DebugID.Breakpad(), want)
				equal(t, "IsZero", m.DebugID.IsZero(), want == none)
				equal(t, "CodeID", string(m.CodeID), tt.codeID)
				equal(t, "DebugFile", m.DebugFile, tt.debugFile)
				equal(t, "has a record", m.CodeView != nil, tt.codeView != nil)
			})
		})
	}
}

func TestVersion(t *testing.T) {
	for platform, want := range map[uint32]string{
		minidumptest.Windows: "5.1.2600.2180", minidumptest.MacOS: "5.1.2600.2180", minidumptest.IOS: "5.1.2600.2180",
		minidumptest.Linux: "327681.170395780.3.4", minidumptest.Android: "327681.170395780.3.4",
	} {
		d := parse(t, minidumptest.New(true).System(minidumptest.System{Platform: platform}).
			Module(minidumptest.Module{Size: 1, Version: [4]uint32{5<<16 | 1, 2600<<16 | 2180, 3, 4}}))
		equal(t, "Version", d.Modules[0].Version, want)
	}
}

// A module that cannot be read does not take the others with it.
func TestBadModules(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		data := b.System(minidumptest.System{Platform: minidumptest.Windows}).
			Module(minidumptest.Module{Name: "empty"}).
			Module(minidumptest.Module{Addr: 0x1000, Size: 0x1000, Name: "good"}).
			Module(minidumptest.Module{Addr: 0xffff_ffff_ffff_f000, Size: 0x2000, Name: "wraps"}).
			Module(minidumptest.Module{Addr: 0x3000, Size: 0x1000, Name: "cut", CodeView: minidumptest.OtherCodeView("RSDS")}).
			Module(minidumptest.Module{Addr: 0x4000, Size: 0x1000, Name: "large", CodeView: minidumptest.ELF{BuildID: make([]byte, 40000)}}).
			Module(minidumptest.Module{Addr: 0x5000, Size: 0x1000, Name: strings.Repeat("n", 40000)}).Bytes()
		if b.BigEndian {
			copy(data[strings.Index(string(data), "RSDS"):], "SDSR")
		}
		d, err := minidump.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range d.Modules {
			names = append(names, m.Name)
			if !m.DebugID.IsZero() {
				t.Errorf("%s has the id %v", m.Name, m.DebugID)
			}
		}
		equal(t, "modules", names, []string{"good", "cut", "large", ""})
		equal(t, "problems", strings.Join(kinds(d), ", "), strings.TrimSuffix(strings.Repeat("ModuleList: bad record, ", 5), ", "))
		equal(t, "Index", d.Modules[1].Index, uint32(3))
		if m := d.MainModule(); m != nil {
			t.Errorf("MainModule = %v, but the first cannot be read", m)
		}
	})
}

func TestModuleAt(t *testing.T) {
	d := parse(t, minidumptest.New(false).
		Module(minidumptest.Module{Addr: 0x5000, Size: 0x1000, Name: "main"}).
		Module(minidumptest.Module{Addr: 0x1000, Size: 0x2000, Name: "larger"}).
		Module(minidumptest.Module{Addr: 0x1000, Size: 0x1000, Name: "smaller"}).
		Module(minidumptest.Module{Addr: 0x5800, Size: 0x1000, Name: "overlaps"}).
		Module(minidumptest.Module{Addr: 0x6000, Size: 0x1000, Name: "after"}))
	equal(t, "MainModule", d.MainModule().Name, "main")
	for addr, want := range map[uint64]string{
		0xfff: "", 0x1000: "smaller", 0x1fff: "smaller", 0x2000: "", 0x5000: "main", 0x5fff: "main", 0x6000: "after", 0x6fff: "after", 0x7000: "", 0: "",
	} {
		name := ""
		if m := d.ModuleAt(addr); m != nil {
			name = m.Name
		}
		equal(t, "ModuleAt", name, want)
	}
	equal(t, "ModulesByAddr", len(d.ModulesByAddr()), 3)
	equal(t, "Modules", len(d.Modules), 5)
	if m := parse(t, minidumptest.New(false)).ModuleAt(5); m != nil {
		t.Errorf("ModuleAt without modules = %v", m)
	}
}

func TestUnloaded(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		d := parse(t, b.System(amd64).Unloaded(
			minidumptest.Unloaded{Addr: 0x2000, Size: 0x1000, Checksum: 1, Timestamp: 2, Name: "b.dll"},
			minidumptest.Unloaded{Addr: 0x1000, Size: 0x2000, Name: "a.dll"},
		))
		equal(t, "Unloaded[0]", d.Unloaded[0], minidump.UnloadedModule{Addr: 0x2000, Size: 0x1000, Checksum: 1, Timestamp: 2, Name: "b.dll", CodeID: "000000021000"})
		for addr, want := range map[uint64]string{0xfff: "", 0x1000: "a.dll", 0x2800: "a.dll b.dll", 0x3000: ""} {
			var names []string
			for _, m := range d.UnloadedAt(addr) {
				names = append(names, m.Name)
			}
			equal(t, "UnloadedAt", strings.Join(names, " "), want)
		}
	})
}
