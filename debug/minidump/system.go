package minidump

import (
	"encoding/binary"
	"strings"

	"salvage/debug/internal/cursor"
)

// CPU is an instruction set.
type CPU uint8

// The instruction sets dumps come from.
const (
	CPUUnknown CPU = iota
	CPUX86
	CPUAMD64
	CPUARM
	CPUARM64
	CPUMIPS
	CPUMIPS64
	CPUPPC
	CPUPPC64
	CPUSPARC
	CPURISCV
	CPURISCV64
)

var cpus = [...]struct {
	name    string
	pointer uint8
}{
	{"unknown", 0}, {"x86", 4}, {"amd64", 8}, {"arm", 4}, {"arm64", 8}, {"mips", 4}, {"mips64", 8},
	{"ppc", 4}, {"ppc64", 8}, {"sparc", 4}, {"riscv", 4}, {"riscv64", 8},
}

func (c CPU) String() string { return cpus[c].name }

// PointerSize returns the size of a pointer in bytes, 0 for CPUUnknown.
func (c CPU) PointerSize() uint8 { return cpus[c].pointer }

// archOldARM64 is Breakpad's number for arm64 from before Microsoft had one; its contexts are laid out differently.
const archOldARM64 = 0x8003

// Numbers of PROCESSOR_ARCHITECTURE_… in winnt.h; those from 0x8001 are MD_CPU_ARCHITECTURE_… of
// Breakpad's minidump_format.h.
var architectures = map[uint16]CPU{
	0: CPUX86, 1: CPUMIPS, 3: CPUPPC, 5: CPUARM, 9: CPUAMD64, 12: CPUARM64,
	10:     CPUX86, // IA32_ON_WIN64
	0x8001: CPUSPARC, 0x8002: CPUPPC64, archOldARM64: CPUARM64, 0x8004: CPUMIPS64, 0x8005: CPURISCV, 0x8006: CPURISCV64,
}

// OS is an operating system.
type OS uint8

// The operating systems dumps come from.
const (
	OSUnknown OS = iota
	OSWindows
	OSMacOS
	OSIOS
	OSLinux
	OSSolaris
	OSAndroid
	OSPS3
	OSNaCl
	OSFuchsia
)

var osNames = [...]string{"unknown", "windows", "mac", "ios", "linux", "solaris", "android", "ps3", "nacl", "fuchsia"}

// String returns the short name in use in reports: "windows", "mac", "linux", …
func (o OS) String() string { return osNames[o] }

// Numbers of VER_PLATFORM_… in winnt.h (9x, NT, CE); those from 0x8101 are MD_OS_… of minidump_format.h.
var platforms = map[uint32]OS{
	1: OSWindows, 2: OSWindows, 3: OSWindows,
	0x8101: OSMacOS, 0x8102: OSIOS, 0x8201: OSLinux, 0x8202: OSSolaris, 0x8203: OSAndroid, 0x8204: OSPS3,
	0x8205: OSNaCl, 0x8206: OSFuchsia,
}

// SystemInfo describes the machine (MINIDUMP_SYSTEM_INFO).
type SystemInfo struct {
	CPU          CPU
	OS           OS
	Architecture uint16 // the number CPU was told from
	Platform     uint32 // the number OS was told from

	Level, Revision     uint16 // of the CPU: on x86 family, and model<<8 | stepping
	Processors          uint8
	ProductType         uint8
	SuiteMask           uint16
	Major, Minor, Build uint32 // of the OS; Linux writers leave 0.0.0 and put a text into CSD
	CSD                 string // service pack, build of macOS, `uname` of Linux

	Vendor   string    // x86: "GenuineIntel", …
	Features [2]uint64 // x86 and ARM: version or cpuid, and feature or hwcap bits; else PROCESSOR_FEATURES
}

func (p *parser) system() {
	var csd rva
	p.d.System = read(p, StreamSystemInfo, func(c *cursor.Cursor) (s SystemInfo) {
		r := c.Sub(56)
		s = SystemInfo{Architecture: r.U16(), Level: r.U16(), Revision: r.U16(), Processors: r.U8(), ProductType: r.U8()}
		s.Major, s.Minor, s.Build = r.U32(), r.U32(), r.U32()
		s.Platform = r.U32()
		csd = rva(r.U32())
		s.SuiteMask = r.U16()
		r.Skip(2)
		s.CPU, s.OS = architectures[s.Architecture], platforms[s.Platform]
		switch s.CPU {
		case CPUX86:
			var vendor [12]byte // three words; the text is theirs in little-endian order
			for i := range 3 {
				binary.LittleEndian.PutUint32(vendor[4*i:], r.U32())
			}
			s.Vendor = strings.ToValidUTF8(strings.TrimRight(string(vendor[:]), "\x00"), "\uFFFD")
			s.Features = [2]uint64{uint64(r.U32()), uint64(r.U32())}
		case CPUARM:
			s.Features = [2]uint64{uint64(r.U32()), uint64(r.U32())}
		default:
			s.Features = [2]uint64{r.U64(), r.U64()}
		}
		return s
	})
	if p.d.System != nil && csd != 0 {
		p.d.System.CSD, _ = p.utf16(csd, "CSD version")
	}
}

func (p *parser) os() OS {
	if p.d.System == nil {
		return OSUnknown
	}
	return p.d.System.OS
}
