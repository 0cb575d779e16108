package proguard

var (
	Descriptor = descriptor
	Hash       = hash
)
