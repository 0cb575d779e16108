package minidump_test

import (
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

func TestLinux(t *testing.T) {
	d, err := minidump.Parse(minidumptest.New(false).
		LinuxText(minidumptest.LinuxCPUInfo, "processor\t: 0\nmicrocode\t: 0x1e34a6789\nmicrocode\t: 0x2\n").
		LinuxText(minidumptest.LinuxStatus, "Name:\tx\nPPid:\t1\nPid:\t3747\n").
		LinuxText(minidumptest.LinuxLSBRelease, "ID = wrong\n DISTRIB_ID\t=  Ubuntu \nVERSION_ID=\"16.04\"\n# comment\nVERSION_CODENAME='x'\nPRETTY_NAME=\"Ubuntu \"x\"\"\n").
		LinuxText(minidumptest.LinuxCmdLine, "a\x00-b\x00").
		LinuxText(minidumptest.LinuxEnviron, "A=1\x00").
		LinuxText(minidumptest.LinuxMaps, "00400000-00401000 r-xp 00001000 fd:01 918273    /usr/bin/my app (deleted)\n"+
			"nonsense\n7ff-7fe rw-s 00000000 00:00 0 \nffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\r\n1-2 rwx 0 0 0\n1-2 rwxp 0 0 x\n\n1-g rwxp 0 0 0").
		Bytes())
	if err != nil {
		t.Fatal(err)
	}
	l := d.Linux
	equal(t, "Maps", l.Maps, []minidump.Mapping{
		{Start: 0x400000, End: 0x401000, Read: true, Execute: true, Private: true, Offset: 0x1000, Device: "fd:01", Inode: 918273, Path: "/usr/bin/my app (deleted)"},
		{Start: 0x7ff, End: 0x7fe, Read: true, Write: true, Device: "00:00"},
		{Start: 0xffffffffff600000, End: 0xffffffffff601000, Execute: true, Private: true, Device: "00:00", Path: "[vsyscall]"},
	})
	equal(t, "problems", kinds(d), []string{"LinuxMaps: bad record", "LinuxMaps: bad record", "LinuxMaps: bad record", "LinuxMaps: bad record"})
	equal(t, "texts", string(l.CmdLine)+string(l.Environ), "a\x00-b\x00A=1\x00")
	equal(t, "Distribution", l.Distribution(), minidump.Distribution{ID: "Ubuntu", Release: "16.04", Codename: "'x'", Description: `Ubuntu "x"`})
	if pid, ok := l.PID(); pid != 3747 || !ok {
		t.Errorf("PID = %d, %v", pid, ok)
	}
	if v, ok := l.Microcode(); v != 0x1e34a6789 || !ok {
		t.Errorf("Microcode = %#x, %v", v, ok)
	}
	var none minidump.Linux
	_, ok1 := none.PID()
	_, ok2 := none.Microcode()
	if ok1 || ok2 {
		t.Error("a pid or microcode without texts")
	}
}
