package triage_test

import (
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/triage"
)

// FuzzAnalyze reads any dump and checks what the answers promise.
func FuzzAnalyze(f *testing.F) {
	for platform, codes := range map[uint32][]uint32{
		minidumptest.Windows: {0xc0000005, 0xc0000006, 0xc0000409, 0xc06d007e, 0xe06d7363, 2},
		minidumptest.Linux:   {4, 6, 11, 31, 0xffffffff},
		minidumptest.MacOS:   {0, 1, 2, 3, 5, 6, 11, 12, 0x43507378},
	} {
		for i, code := range codes {
			f.Add(minidumptest.New(i%2 == 1).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: platform}).
				Thread(minidumptest.Thread{ID: 1, Context: minidumptest.ContextAMD64{RIP: 1}}).Thread(minidumptest.Thread{ID: 2}).BreakpadInfo(3, 2, 1).
				Exception(minidumptest.Exception{ThreadID: 1, Code: code, Flags: 0x20000001, NumParameters: 3, Information: [15]uint64{10, 6<<24 | 1<<58, 1}}).
				Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := minidump.Parse(data)
		if err != nil {
			return
		}
		c, ok := triage.Analyze(d)
		if ok != (d.Exception != nil) || ok == (c.Reason == "") || ok && c.ThreadID != d.Exception.ThreadID {
			t.Errorf("Analyze = %+v, %v", c, ok)
		}
		for _, r := range c.Reason {
			if r < ' ' || r > '~' {
				t.Errorf("Reason = %q", c.Reason)
			}
		}
		index, context, ok := triage.RequestingThread(d)
		if ok && d.Exception != nil && d.Threads[index].ID != c.ThreadID {
			t.Errorf("RequestingThread = %d, with id %d; the exception has %d", index, d.Threads[index].ID, c.ThreadID)
		}
		if !ok && (index != 0 || context != nil) {
			t.Errorf("RequestingThread = %d, %v, false", index, context)
		}
	})
}
