package triage

var (
	WindowsCodes = windows
	WindowsName  = windowsName
)
