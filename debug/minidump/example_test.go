package minidump_test

import (
	"fmt"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

func ExampleParse() {
	data := minidumptest.New(false).
		System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}).
		Module(minidumptest.Module{Addr: 0x400000, Size: 0x1000, Name: "/bin/app", CodeView: minidumptest.ELF{BuildID: []byte{1, 2, 3, 4}}}).
		Exception(minidumptest.Exception{ThreadID: 7, Code: 11, Context: minidumptest.ContextAMD64{RIP: 0x400123}}).
		Bytes()

	d, err := minidump.Parse(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	pc := d.Exception.Context.PC()
	m := d.ModuleAt(pc)
	fmt.Printf("signal %d in thread %d at %s+%#x, symbols %s\n", d.Exception.Code, d.Exception.ThreadID, m.Name, pc-m.Addr, m.DebugID.Breakpad())
	// Output: signal 11 in thread 7 at /bin/app+0x123, symbols 040302010000000000000000000000000
}
