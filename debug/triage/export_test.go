package triage

var Windows, Linux, Mach = windows, linux, mach
