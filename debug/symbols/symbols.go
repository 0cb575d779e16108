// Package symbols is the form between readers of debug information and writers of lookup files:
// functions with their lines and inlined calls, and public symbols.
//
// A reader fills Batches of flat arrays and hands them on in a deterministic order; a writer turns each
// function into rows with a Flattener and puts all functions of an image side by side with Arrange.
// Readers may deliver records in any order, nested and overlapping as they find them: what to do about
// it is decided here, once, for every format.
//
// It does no I/O. Batches and Flatteners are not safe for concurrent use.
package symbols

import (
	"sync"

	"salvage/debug/debugid"
)

// Module identifies the binary that symbols belong to.
type Module struct {
	ID        debugid.ID
	CodeID    debugid.CodeID
	OS, Arch  string // as Breakpad names them: "Linux", "mac", "windows"; "x86_64", "arm64", …
	Name      string // debug file; may contain spaces
	ImageBase uint64 // file address of the byte that has address 0 here
}

// Language is a source language. The numbers are those of Sentry's symbolic and go into files.
type Language uint8

// The languages in use.
const (
	LanguageUnknown Language = iota
	LanguageC
	LanguageCpp
	LanguageD
	LanguageGo
	LanguageObjC
	LanguageObjCpp
	LanguageRust
	LanguageSwift
	LanguageCSharp
	LanguageVisualBasic
	LanguageFSharp
)

var languageNames = [...]string{"unknown", "c", "cpp", "d", "go", "objc", "objcpp", "rust", "swift", "csharp", "visualbasic", "fsharp"}

func (l Language) String() string {
	if int(l) < len(languageNames) {
		return languageNames[l]
	}
	return "unknown"
}

// Span is a half-open range of indices into one of a batch's arrays.
type Span struct{ Lo, Hi uint32 }

// Function is one contiguous piece of code: a function with several ranges is several of them.
type Function struct {
	Addr, Size uint64   // relative to the image base
	Name       StringID // linkage name where the format has one
	Language   Language
	Params     uint16 // bytes of parameters on the stack, of x86; 0: none, or unknown
	Lines      Span   // of Batch.Lines
	Inlines    Span   // of Batch.Inlines
}

// Line says which source line Size bytes of code from Addr come from.
type Line struct {
	Addr uint64
	Size uint32
	File StringID
	Line uint32 // 0: unknown
}

// Inline is one contiguous piece of an inlined call.
type Inline struct {
	Addr, Size uint64
	Name       StringID // the inlined function
	CallFile   StringID // where the call stands
	CallLine   uint32
	Depth      uint32 // 0: called from the function itself
	Language   Language
}

// Public is a symbol that has a name and an address, but no debug information. Size 0 means "up to
// whatever comes next".
type Public struct {
	Addr, Size uint64
	Name, File StringID
	Params     uint16 // as of a Function
}

// Batch is a group of functions with all they refer to. Whoever receives a batch owns it.
type Batch struct {
	Strings   *Strings // may be shared by many batches of one reader
	Functions []Function
	Lines     []Line
	Inlines   []Inline
	Publics   []Public
}

// Source delivers the batches of one input in a deterministic order and returns emit's error if it
// gets one.
type Source func(emit func(*Batch) error) error

var batches = sync.Pool{New: func() any { return new(Batch) }}

// NewBatch returns an empty batch over the given strings.
func NewBatch(s *Strings) *Batch {
	b := batches.Get().(*Batch)
	b.Strings = s
	return b
}

// Free gives the arrays of b back for reuse; nothing of b may be used afterwards.
func (b *Batch) Free() {
	*b = Batch{Functions: b.Functions[:0], Lines: b.Lines[:0], Inlines: b.Inlines[:0], Publics: b.Publics[:0]}
	batches.Put(b)
}

// InCode reports whether addr may be code of an image with the given executable ranges. Addresses that
// are in none of them stand for code that the linker threw away; where nothing is known about the
// ranges (nil), that is told by address 0 alone. Linkers also write all ones, which readers recognise by
// the width of their addresses.
func InCode(executable []Extent, addr uint64) bool {
	if executable == nil {
		return addr != 0
	}
	for _, e := range executable {
		if addr-e.Addr < e.Size {
			return true
		}
	}
	return false
}

// Repairs counts the records that were changed or dropped to make sense of an input.
type Repairs struct {
	EmptyRecords   int // without size, or too large to be code
	OutsideParent  int // lines and inlined calls beyond their function, or cut at its end
	OverlapLines   int // lines that lost bytes to an earlier line
	OverlapInlines int // inlined calls that were cut at, or moved behind, a sibling
	DeepInlines    int // inlined calls dropped for the depth or the work limit
	ShadowedFuncs  int // functions that lost bytes to one delivered earlier
}

// Add adds the counts of o to r.
func (r *Repairs) Add(o Repairs) {
	r.EmptyRecords += o.EmptyRecords
	r.OutsideParent += o.OutsideParent
	r.OverlapLines += o.OverlapLines
	r.OverlapInlines += o.OverlapInlines
	r.DeepInlines += o.DeepInlines
	r.ShadowedFuncs += o.ShadowedFuncs
}
