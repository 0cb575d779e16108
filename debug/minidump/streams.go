package minidump

import "fmt"

// StreamType says what a stream holds. The numbers are MINIDUMP_STREAM_TYPE of minidumpapiset.h and the
// extensions of Breakpad, Crashpad, Chromium and Mozilla.
type StreamType uint32

// The streams Parse reads, and the ones without a number of Microsoft's.
const (
	StreamUnused              StreamType = 0
	StreamThreadList          StreamType = 3
	StreamModuleList          StreamType = 4
	StreamMemoryList          StreamType = 5
	StreamException           StreamType = 6
	StreamSystemInfo          StreamType = 7
	StreamMemory64List        StreamType = 9
	StreamHandleData          StreamType = 12
	StreamUnloadedModuleList  StreamType = 14
	StreamMiscInfo            StreamType = 15
	StreamMemoryInfoList      StreamType = 16
	StreamThreadInfoList      StreamType = 17
	StreamHandleOperationList StreamType = 18
	StreamThreadNames         StreamType = 24

	StreamBreakpadInfo    StreamType = 0x47670001
	StreamAssertionInfo   StreamType = 0x47670002
	StreamLinuxCPUInfo    StreamType = 0x47670003
	StreamLinuxProcStatus StreamType = 0x47670004
	StreamLinuxLSBRelease StreamType = 0x47670005
	StreamLinuxCmdLine    StreamType = 0x47670006
	StreamLinuxEnviron    StreamType = 0x47670007
	StreamLinuxAuxv       StreamType = 0x47670008
	StreamLinuxMaps       StreamType = 0x47670009
	StreamLinuxDSODebug   StreamType = 0x4767000a

	StreamCrashpadInfo      StreamType = 0x43500001
	StreamStabilityReport   StreamType = 0x4b6b0002 // Chromium, a protobuf
	StreamMozMacosCrashInfo StreamType = 0x4d7a0001
	StreamMozMacosBootargs  StreamType = 0x4d7a0002
	StreamMozLinuxLimits    StreamType = 0x4d7a0003
	StreamMozSoftErrors     StreamType = 0x4d7a0004
)

// The enumeration of minidumpapiset.h, from 0 and from 0x8000 (Windows CE).
var (
	streamNames = [...]string{
		"Unused", "Reserved0", "Reserved1", "ThreadList", "ModuleList", "MemoryList", "Exception", "SystemInfo",
		"ThreadExList", "Memory64List", "CommentA", "CommentW", "HandleData", "FunctionTable", "UnloadedModuleList",
		"MiscInfo", "MemoryInfoList", "ThreadInfoList", "HandleOperationList", "Token", "JavaScriptData",
		"SystemMemoryInfo", "ProcessVmCounters", "IptTrace", "ThreadNames",
	}
	windowsCENames = [...]string{
		"ceNull", "ceSystemInfo", "ceException", "ceModuleList", "ceProcessList", "ceThreadList",
		"ceThreadContextList", "ceThreadCallStackList", "ceMemoryVirtualList", "ceMemoryPhysicalList",
		"ceBucketParameters", "ceProcessModuleMap", "ceDiagnosisList",
	}
	extensionNames = map[StreamType]string{
		StreamBreakpadInfo: "BreakpadInfo", StreamAssertionInfo: "AssertionInfo", StreamLinuxCPUInfo: "LinuxCpuInfo",
		StreamLinuxProcStatus: "LinuxProcStatus", StreamLinuxLSBRelease: "LinuxLsbRelease",
		StreamLinuxCmdLine: "LinuxCmdLine", StreamLinuxEnviron: "LinuxEnviron", StreamLinuxAuxv: "LinuxAuxv",
		StreamLinuxMaps: "LinuxMaps", StreamLinuxDSODebug: "LinuxDsoDebug", StreamCrashpadInfo: "CrashpadInfo",
		StreamStabilityReport: "StabilityReport", StreamMozMacosCrashInfo: "MozMacosCrashInfo",
		StreamMozMacosBootargs: "MozMacosBootargs", StreamMozLinuxLimits: "MozLinuxLimits",
		StreamMozSoftErrors: "MozSoftErrors",
	}
)

// Known reports whether the type has a name.
func (t StreamType) Known() bool { return t.name() != "" }

// String returns the name of the type without the word "Stream", or its number.
func (t StreamType) String() string {
	if s := t.name(); s != "" {
		return s
	}
	return fmt.Sprintf("%#x", uint32(t))
}

func (t StreamType) name() string {
	switch {
	case t < StreamType(len(streamNames)):
		return streamNames[t]
	case t >= 0x8000 && t-0x8000 < StreamType(len(windowsCENames)):
		return windowsCENames[t-0x8000]
	case t == 0xffff:
		return "LastReserved"
	}
	return extensionNames[t]
}
