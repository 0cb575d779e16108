package triage_test

import (
	"fmt"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/triage"
)

func ExampleAnalyze() {
	data := minidumptest.New(false).
		System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Windows}).
		Thread(minidumptest.Thread{ID: 0xbf4}).
		Exception(minidumptest.Exception{ThreadID: 0xbf4, Code: 0xc0000005, Address: 0x40429e, NumParameters: 2, Information: [15]uint64{1, 0x45}}).
		Bytes()

	d, err := minidump.Parse(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	if c, ok := triage.Analyze(d); ok {
		index, _, _ := triage.RequestingThread(d)
		fmt.Printf("%s at %#x in thread %d\n", c.Reason, c.Address, index)
	}
	// Output: EXCEPTION_ACCESS_VIOLATION_WRITE at 0x45 in thread 0
}
