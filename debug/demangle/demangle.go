// Package demangle makes linkage names readable.
//
// It knows Itanium C++ (leading underscore of Mach-O included) and both Rust schemes; names of other
// languages, and names that are none, come back as they are. It keeps no state and is safe for concurrent
// use. Hostile names are bounded: in length, and in the length of what they expand to.
package demangle

import (
	"strings"

	"github.com/ianlancetaylor/demangle"
)

const (
	// maxInput is the longest name that is tried; C++ names of 82 KB have been seen.
	maxInput = 128 << 10
	// maxOutput, a power of two: back references let a short name ask for gigabytes.
	maxOutput = 18
)

// Name returns the readable form of a linkage name, with parameters: ns::f(int).
func Name(linkage string) string {
	if len(linkage) > maxInput {
		return linkage
	}
	mangled := linkage
	if strings.HasPrefix(mangled, "__Z") || strings.HasPrefix(mangled, "__R") {
		mangled = mangled[1:] // Mach-O puts an underscore before every name of C
	}
	if !strings.HasPrefix(mangled, "_Z") && !strings.HasPrefix(mangled, "_R") {
		return linkage
	}
	name, err := demangle.ToString(mangled, demangle.MaxLength(maxOutput), demangle.LLVMStyle)
	if err != nil {
		return linkage
	}
	return name
}
