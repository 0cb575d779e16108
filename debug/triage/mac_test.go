package triage_test

import (
	"fmt"
	"strings"
	"testing"

	"salvage/debug/minidump/minidumptest"
)

const ppc, ppc64 uint16 = 3, 0x8002

// mac checks a reason on both of Apple's systems; detail holds code and subcode of 64 bits, if any.
func mac(t *testing.T, architecture uint16, code, flags uint32, detail [2]uint64, want string) {
	t.Helper()
	for _, platform := range []uint32{minidumptest.MacOS, minidumptest.IOS} {
		reason(t, platform, architecture, minidumptest.Exception{
			Code: code, Flags: flags, NumParameters: 3, Information: [15]uint64{uint64(code), detail[0], detail[1]},
		}, want)
	}
}

func TestMachExceptions(t *testing.T) {
	for code, want := range map[uint32]string{
		1: "EXC_BAD_ACCESS", 2: "EXC_BAD_INSTRUCTION", 3: "EXC_ARITHMETIC", 4: "EXC_EMULATION", 5: "EXC_SOFTWARE", 6: "EXC_BREAKPOINT",
		7: "EXC_SYSCALL", 8: "EXC_MACH_SYSCALL", 9: "EXC_RPC_ALERT",
	} {
		mac(t, minidumptest.AMD64, code, 0x1234567, [2]uint64{}, want+" / 0x01234567")
		mac(t, minidumptest.ARM64, code, 0, [2]uint64{}, want+" / 0x00000000")
	}
	for _, code := range []uint32{0, 10, 13, 14, 0x43507379} {
		mac(t, minidumptest.AMD64, code, 1, [2]uint64{}, fmt.Sprintf("unknown 0x%08x / 0x00000001", code))
	}
}

func TestMachCodes(t *testing.T) {
	all := []uint16{minidumptest.X86, minidumptest.AMD64, minidumptest.ARM, minidumptest.ARM64, minidumptest.OldARM64, ppc, ppc64}
	arm64, x86 := all[3:5], all[:2]
	for _, tt := range []struct {
		cpus  []uint16
		code  uint32
		names string // code=name
	}{
		{all, 1, "1=KERN_INVALID_ADDRESS 2=KERN_PROTECTION_FAILURE 5=KERN_FAILURE 8=KERN_NO_ACCESS 9=KERN_MEMORY_FAILURE a=KERN_MEMORY_ERROR 32=KERN_CODESIGN_ERROR"},
		{arm64, 1, "101=EXC_ARM_DA_ALIGN 102=EXC_ARM_DA_DEBUG 103=EXC_ARM_SP_ALIGN 104=EXC_ARM_SWP 105=EXC_ARM_PAC_FAIL"},
		{[]uint16{ppc}, 1, "101=EXC_PPC_VM_PROT_READ 102=EXC_PPC_BADSPACE 103=EXC_PPC_UNALIGNED"},
		{x86, 1, "d=EXC_I386_GPFLT"},
		{arm64, 2, "1=EXC_ARM_UNDEFINED"},
		{[]uint16{ppc}, 2, "1=EXC_PPC_INVALID_SYSCALL 2=EXC_PPC_UNIPL_INST 3=EXC_PPC_PRIVINST 4=EXC_PPC_PRIVREG 5=EXC_PPC_TRACE 6=EXC_PPC_PERFMON"},
		{x86, 2, "1=EXC_I386_INVOP a=EXC_I386_INVTSSFLT b=EXC_I386_SEGNPFLT c=EXC_I386_STKFLT d=EXC_I386_GPFLT 11=EXC_I386_ALIGNFLT"},
		{arm64, 3, "1=EXC_ARM_FP_IO 2=EXC_ARM_FP_DZ 3=EXC_ARM_FP_OF 4=EXC_ARM_FP_UF 5=EXC_ARM_FP_IX 6=EXC_ARM_FP_ID"},
		{[]uint16{ppc}, 3, "1=EXC_PPC_OVERFLOW 2=EXC_PPC_ZERO_DIVIDE 3=EXC_FLT_INEXACT 4=EXC_PPC_FLT_ZERO_DIVIDE 5=EXC_PPC_FLT_UNDERFLOW 6=EXC_PPC_FLT_OVERFLOW 7=EXC_PPC_FLT_NOT_A_NUMBER 8=EXC_PPC_NOEMULATION 9=EXC_PPC_ALTIVECASSIST"},
		{x86, 3, "1=EXC_I386_DIV 2=EXC_I386_INTO 3=EXC_I386_NOEXT 4=EXC_I386_EXTOVR 5=EXC_I386_EXTERR 6=EXC_I386_EMERR 7=EXC_I386_BOUND 8=EXC_I386_SSEEXTERR"},
		{all, 5, "10002=SIGABRT deadc0de=UNCAUGHT_NS_EXCEPTION 1=EXC_PPC_TRAP 10100=EXC_PPC_MIGRATE"},
		{arm64, 6, "1=EXC_ARM_BREAKPOINT"},
		{[]uint16{ppc}, 6, "1=EXC_PPC_BREAKPOINT"},
		{x86, 6, "1=EXC_I386_SGL 2=EXC_I386_BPT"},
	} {
		exception := strings.Fields("0 EXC_BAD_ACCESS EXC_BAD_INSTRUCTION EXC_ARITHMETIC 4 EXC_SOFTWARE EXC_BREAKPOINT")[tt.code]
		for _, field := range strings.Fields(tt.names) {
			number, name, _ := strings.Cut(field, "=")
			var flags uint32
			fmt.Sscanf(number, "%x", &flags)
			for _, cpu := range tt.cpus {
				mac(t, cpu, tt.code, flags, [2]uint64{}, exception+" / "+name)
			}
		}
	}
}

// Codes of one CPU say nothing on another; 32-bit ARM and 64-bit PowerPC have none of their own.
func TestMachCodesOfOtherCPUs(t *testing.T) {
	for _, cpu := range []uint16{minidumptest.ARM, ppc64, 77} {
		mac(t, cpu, 1, 0x101, [2]uint64{}, "EXC_BAD_ACCESS / 0x00000101")
		mac(t, cpu, 1, 13, [2]uint64{}, "EXC_BAD_ACCESS / 0x0000000d")
		for code, exception := range map[uint32]string{2: "EXC_BAD_INSTRUCTION", 3: "EXC_ARITHMETIC", 6: "EXC_BREAKPOINT"} {
			mac(t, cpu, code, 1, [2]uint64{}, exception+" / 0x00000001")
		}
	}
	mac(t, minidumptest.ARM64, 1, 13, [2]uint64{}, "EXC_BAD_ACCESS / 0x0000000d")
	mac(t, minidumptest.AMD64, 1, 0x105, [2]uint64{}, "EXC_BAD_ACCESS / 0x00000105")
}

// Crashpad's own codes stand where an exception would: a dump without crash, and an NSException.
func TestCrashpadExceptions(t *testing.T) {
	mac(t, minidumptest.AMD64, 0x43507378, 0, [2]uint64{}, "Simulated Exception")
	mac(t, minidumptest.ARM64, 0x43506e78, 5, [2]uint64{}, "Uncaught NSException")
}

// abort() in a Crashpad client: no exception, and an EXC_CRASH that wraps none but the signal.
func TestCrashOfSignal(t *testing.T) {
	for _, tt := range []struct {
		flags, n uint32
		info     [3]uint64
		want     string
	}{
		{0, 3, [3]uint64{10, 0x6000000}, "EXC_CRASH / SIGABRT"},
		{0, 2, [3]uint64{10, 0xfff0_0b00_0000}, "EXC_CRASH / SIGSEGV"}, // the exit status is above
		{0, 2, [3]uint64{10, 0x3000000}, "EXC_CRASH / SIGQUIT"},
		{0, 2, [3]uint64{10, 0x4000000}, "EXC_CRASH / SIGILL"},
		{0, 2, [3]uint64{10, 0x5000000}, "EXC_CRASH / SIGTRAP"},
		{0, 2, [3]uint64{10, 0x7000000}, "EXC_CRASH / SIGEMT"},
		{0, 2, [3]uint64{10, 0x8000000}, "EXC_CRASH / SIGFPE"},
		{0, 2, [3]uint64{10, 0x9000000}, "EXC_CRASH / SIGKILL"},
		{0, 2, [3]uint64{10, 0xa000000}, "EXC_CRASH / SIGBUS"},
		{0, 2, [3]uint64{10, 0xc000000}, "EXC_CRASH / SIGSYS"},
		{2, 2, [3]uint64{10, 0xd000000}, "unknown 0x00000000 / 0x00000002"}, // SIGPIPE does not dump core
		{2, 2, [3]uint64{10, 0}, "unknown 0x00000000 / 0x00000002"},
		{2, 1, [3]uint64{10, 0x6000000}, "unknown 0x00000000 / 0x00000002"},
		{2, 3, [3]uint64{11, 0x6000000}, "unknown 0x00000000 / 0x00000002"},
	} {
		reason(t, minidumptest.MacOS, minidumptest.AMD64, minidumptest.Exception{
			Flags: tt.flags, NumParameters: tt.n, Information: [15]uint64{tt.info[0], tt.info[1], tt.info[2]},
		}, tt.want)
	}
}

func TestResource(t *testing.T) {
	const all = 1<<58 - 1 // every bit below the flavor
	for _, tt := range []struct {
		flags  uint32
		detail [2]uint64
		want   string
	}{
		{1 << 29, [2]uint64{1<<58 | 180<<7 | 5, 6}, "RESOURCE_TYPE_CPU / FLAVOR_CPU_MONITOR interval: 180s CPU limit: 5% CPU consumed: 6%"},
		{1 << 29, [2]uint64{2<<58 | all, 1<<64 - 1}, "RESOURCE_TYPE_CPU / FLAVOR_CPU_MONITOR_FATAL interval: 33554431s CPU limit: 7% CPU consumed: 7%"},
		{2 << 29, [2]uint64{1<<58 | 300<<20 | 150, 202}, "RESOURCE_TYPE_WAKEUPS / FLAVOR_WAKEUPS_MONITOR interval: 300s wakeups permitted: 150 wakeups observed: 202"},
		{2 << 29, [2]uint64{1<<58 | all, 1<<64 - 1}, "RESOURCE_TYPE_WAKEUPS / FLAVOR_WAKEUPS_MONITOR interval: 1048575s wakeups permitted: 4095 wakeups observed: 4095"},
		{3 << 29, [2]uint64{1<<58 | all, 0}, "RESOURCE_TYPE_MEMORY / FLAVOR_HIGH_WATERMARK high watermark limit: 8191MiB"},
		{3 << 29, [2]uint64{1<<58 | 1440, 0}, "RESOURCE_TYPE_MEMORY / FLAVOR_HIGH_WATERMARK high watermark limit: 1440MiB"},
		{4 << 29, [2]uint64{1<<58 | 86400<<15 | 2048, 2049}, "RESOURCE_TYPE_IO / FLAVOR_IO_PHYSICAL_WRITES interval: 86400s I/O limit: 2048% I/O observed: 2049%"},
		{4 << 29, [2]uint64{2<<58 | all, 1<<64 - 1}, "RESOURCE_TYPE_IO / FLAVOR_IO_LOGICAL_WRITES interval: 131071s I/O limit: 32767% I/O observed: 32767%"},
		{5 << 29, [2]uint64{1<<58 | all, 0}, "RESOURCE_TYPE_THREADS / FLAVOR_THREADS_HIGH_WATERMARK high watermark limit: 32767"},
		// The type is that of the flags, the flavor that of the code. Others have no text.
		{5<<29 | 1<<28, [2]uint64{1<<61 | 1<<58 | 9, 0}, "RESOURCE_TYPE_THREADS / FLAVOR_THREADS_HIGH_WATERMARK high watermark limit: 9"},
		{1 << 29, [2]uint64{3<<58 | 1, 2}, "RESOURCE_TYPE_CPU / 0x0c00000000000001 / 0x0000000000000002"},
		{2 << 29, [2]uint64{2 << 58, 0}, "RESOURCE_TYPE_WAKEUPS / 0x0800000000000000 / 0x0000000000000000"},
		{3 << 29, [2]uint64{2 << 58, 1}, "RESOURCE_TYPE_MEMORY / 0x0800000000000000 / 0x0000000000000001"},
		{4 << 29, [2]uint64{7 << 58, 1}, "RESOURCE_TYPE_IO / 0x1c00000000000000 / 0x0000000000000001"},
		{5 << 29, [2]uint64{0, 1}, "RESOURCE_TYPE_THREADS / 0x0000000000000000 / 0x0000000000000001"},
		{0x1fffffff, [2]uint64{1 << 58, 1}, "0x1fffffff"},
		{6 << 29, [2]uint64{1 << 58, 1}, "0xc0000000"},
		{7 << 29, [2]uint64{1 << 58, 1}, "0xe0000000"},
	} {
		mac(t, minidumptest.ARM64, 11, tt.flags, tt.detail, "EXC_RESOURCE / "+tt.want)
	}
}

func TestGuard(t *testing.T) {
	const high = 7 << 61 // the type, which is not part of the flavor
	for _, tt := range []struct {
		flags  uint32
		detail [2]uint64
		want   string
	}{
		{0, [2]uint64{1 << 32, 5}, "GUARD_TYPE_NONE"},
		{1 << 29, [2]uint64{high | 1<<32 | 1<<28 | 771, 0}, "GUARD_TYPE_MACH_PORT / GUARD_EXC_DESTROY port name: 771"},
		{1 << 29, [2]uint64{2<<32 | 0xffffffff, 1<<64 - 1}, "GUARD_TYPE_MACH_PORT / GUARD_EXC_MOD_REFS port name: 268435455 subcode: 18446744073709551615"},
		{1 << 29, [2]uint64{6<<32 | 1, 2}, "GUARD_TYPE_MACH_PORT / 0x0000000600000001 / 0x0000000000000002"},
		{2 << 29, [2]uint64{high | 1<<32 | 1<<28 | 3, 0xbaad}, "GUARD_TYPE_FD / GUARD_EXC_CLOSE file descriptor: 3 guard identifier: 47789"},
		{2 << 29, [2]uint64{3<<32 | 3, 0}, "GUARD_TYPE_FD / 0x0000000300000003 / 0x0000000000000000"},
		{4 << 29, [2]uint64{1<<32 | 1<<28 | 80, 7}, "GUARD_TYPE_VN / GUARD_EXC_RENAME_TO pid: 80 guard identifier: 7"},
		{4 << 29, [2]uint64{0x80 << 32, 7}, "GUARD_TYPE_VN / 0x0000008000000000 / 0x0000000000000007"},
		{5 << 29, [2]uint64{1 << 32, 4096}, "GUARD_TYPE_VIRT_MEMORY / GUARD_EXC_DEALLOC_GAP offset: 4096"},
		{5 << 29, [2]uint64{0, 4096}, "GUARD_TYPE_VIRT_MEMORY / 0x0000000000000000 / 0x0000000000001000"},
		{6 << 29, [2]uint64{high, 31}, "GUARD_TYPE_REJECTED_SC / GUARD_EXC_MACH_TRAP syscall: 31"},
		{6 << 29, [2]uint64{1 << 32, 31}, "GUARD_TYPE_REJECTED_SC / 0x0000000100000000 / 0x000000000000001f"},
		{7 << 29, [2]uint64{1 << 32, 31}, "0xe0000000"},
	} {
		mac(t, minidumptest.ARM64, 12, tt.flags, tt.detail, "EXC_GUARD / "+tt.want)
	}
	for kind, flavors := range map[uint32]string{
		1: `DESTROY MOD_REFS INVALID_OPTIONS SET_CONTEXT THREAD_SET_STATE 8 UNGUARDED INCORRECT_GUARD IMMOVABLE STRICT_REPLY MSG_FILTERED
			INVALID_RIGHT INVALID_NAME INVALID_VALUE INVALID_ARGUMENT RIGHT_EXISTS KERN_NO_SPACE KERN_FAILURE KERN_RESOURCE
			SEND_INVALID_REPLY SEND_INVALID_VOUCHER SEND_INVALID_RIGHT RCV_INVALID_NAME RCV_GUARDED_DESC MOD_REFS_NON_FATAL
			IMMOVABLE_NON_FATAL REQUIRE_REPLY_PORT_SEMANTICS EXCEPTION_BEHAVIOR_ENFORCE`,
		2: "1 CLOSE DUP NOCLOEXEC SOCKET_IPC FILEPORT MISMATCH WRITE",
		4: "1 RENAME_TO RENAME_FROM UNLINK WRITE_OTHER TRUNC_OTHER LINK EXCHDATA",
	} {
		value, bits := uint64(1), false
		for _, name := range strings.Fields(flavors) {
			if _, err := fmt.Sscan(name, &value); err == nil {
				bits = true // each name from here on is the next bit
				continue
			}
			prefix := map[uint32]string{
				1: "GUARD_TYPE_MACH_PORT / GUARD_EXC_%s port name: 9 subcode: 4", 2: "GUARD_TYPE_FD / GUARD_EXC_%s file descriptor: 9 guard identifier: 4",
				4: "GUARD_TYPE_VN / GUARD_EXC_%s pid: 9 guard identifier: 4",
			}[kind]
			mac(t, minidumptest.AMD64, 12, kind<<29, [2]uint64{value<<32 | 9, 4}, "EXC_GUARD / "+fmt.Sprintf(prefix, name))
			if bits {
				value <<= 1
			} else {
				value++
			}
		}
	}
}

// The text for guarded values of user space has no space before its first slash, and no flavors.
func TestGuardUser(t *testing.T) {
	mac(t, minidumptest.ARM64, 12, 3<<29, [2]uint64{0x7fff_ffff_ffff_ffff, 5}, "EXC_GUARD / GUARD_TYPE_USER/ namespace: 4294967295 guard identifier: 5")
}

// The details are read even where the writer claims fewer parameters.
func TestDetailsBeyondParameters(t *testing.T) {
	reason(t, minidumptest.MacOS, minidumptest.AMD64, minidumptest.Exception{Code: 11, Flags: 5 << 29, Information: [15]uint64{11, 1<<58 | 9}},
		"EXC_RESOURCE / RESOURCE_TYPE_THREADS / FLAVOR_THREADS_HIGH_WATERMARK high watermark limit: 9")
}
