package processor

import (
	"context"
	"strconv"
	"strings"
)

// platform says on what machine and system the process ran: by the dump, else by the client.
func platform(_ context.Context, w *work) error {
	info := at(w.doc["json_dump"], "system_info")
	set := func(field, found, fallback, none string) {
		for _, v := range []string{strings.TrimSpace(found), w.annotation(fallback), none} {
			if v != "" || v == none {
				w.doc[field] = v
				return
			}
		}
	}
	set("cpu_arch", text(at(info, "cpu_arch")), "CPUArchitecture", "unknown")
	set("cpu_info", text(at(info, "cpu_info")), "CPUInfo", "unknown")
	set("os_name", text(at(info, "os")), "OS", "Unknown")
	set("os_version", text(at(info, "os_ver")), "OSVersion", "")
	w.doc["cpu_count"] = 0
	if n, ok := integer(at(info, "cpu_count")); ok {
		w.doc["cpu_count"] = n
	}
	if m := text(at(info, "cpu_microcode_version")); m != "" {
		w.doc["cpu_microcode_version"] = m
	}
	distribution := text(at(w.doc["json_dump"], "lsb_release", "description"))
	if distribution == "" {
		distribution = w.annotation("LinuxLSBDescription")
	}
	w.doc["os_pretty_version"] = prettyVersion(text(w.doc["os_name"]), text(w.doc["os_version"]), distribution)
	return nil
}

var windowsNames = map[string]string{
	"3.5": "NT", "4.0": "NT", "4.1": "98", "4.9": "Me", "5.0": "2000", "5.1": "XP", "5.2": "Server 2003", "6.0": "Vista",
	"6.1": "7", "6.2": "8", "6.3": "8.1", "10.0": "10",
}

// firstWindows11 is the build from which on Windows 10.0 is sold as 11.
const firstWindows11 = 21996

// prettyVersion names a system as people do. Builds are compared as numbers, which Socorro does as texts.
func prettyVersion(name, version, distribution string) string {
	part := strings.FieldsFunc(version, func(r rune) bool { return r == '.' || r == ' ' })
	number := func(i int) int {
		if i >= len(part) {
			return -1
		}
		n, err := strconv.Atoi(part[i])
		if err != nil {
			return -1
		}
		return n
	}
	major, minor := number(0), number(1)
	known := major >= 0 && minor >= 0
	switch {
	case strings.HasPrefix(name, "Windows") && known:
		if major == 10 && minor == 0 && number(2) >= firstWindows11 {
			return "Windows 11"
		}
		if n, ok := windowsNames[strconv.Itoa(major)+"."+strconv.Itoa(minor)]; ok {
			return "Windows " + n
		}
		return "Windows Unknown"
	case name == "Mac OS X" && known:
		switch {
		case major >= 11:
			return "macOS " + strconv.Itoa(major)
		case major == 10:
			return "OS X 10." + strconv.Itoa(minor)
		}
		return "OS X Unknown"
	case name == "Linux" && distribution != "":
		return distribution
	case name == "Android" && version != "":
		return name + " " + version
	}
	return name
}
