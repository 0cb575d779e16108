package minidump

import (
	"cmp"
	_ "embed" // streams.txt
	"fmt"

	"salvage/debug/internal/tables"
)

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

//go:embed streams.txt
var streamNames tables.Names

// Known reports whether the type has a name.
func (t StreamType) Known() bool { return streamNames.Name("stream", uint32(t)) != "" }

// String returns the name of the type without the word "Stream", or its number.
func (t StreamType) String() string {
	return cmp.Or(streamNames.Name("stream", uint32(t)), fmt.Sprintf("%#x", uint32(t)))
}
