package symstore

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/debugid"
	"salvage/debug/object"
	"salvage/debug/object/elf"
	"salvage/debug/object/macho"
	"salvage/debug/object/pe"
	"salvage/debug/pdb"
	"salvage/debug/proguard"
	"salvage/debug/symbols"
	"salvage/internal/blob"
	"salvage/internal/errs"
	"salvage/internal/metadb"
)

// content is what a file says about itself.
type content struct {
	metadb.Symbol                    // without Size, SHA256, Uploaded and Uploader
	symbols, debugInfo, rules bool   // names; with files and lines; unwind rules
	warning                   string // for the uploader
	module                    symbols.Module
}

func (c *content) result() Result {
	return Result{
		Key: c.Key, DebugFile: c.DebugFile, DebugID: c.DebugID, CodeFile: c.CodeFile, CodeID: c.CodeID, Name: c.Name, Format: c.Format, Arch: c.Arch,
		Size: c.Size, SHA256: c.SHA256, HasSymbols: c.symbols, HasDebugInfo: c.debugInfo, HasRules: c.rules, Warning: c.warning,
	}
}

// identify reads what a file is. It refuses what nothing can be learnt from, and what is not what info says.
func identify(data []byte, info *PutInfo) (c content, err error) {
	o, err := object.Open(data)
	switch {
	case errors.Is(err, debug.ErrUnsupported) && proguard.Probe(data):
		return c, c.mapping(data, info)
	case errors.Is(err, debug.ErrUnsupported) && pdb.Probe(data):
		return c, fmt.Errorf("%w: %w", errs.Public(errs.Unsupported, "This PDB cannot be read: %s.", reason(err)), err)
	case errors.Is(err, debug.ErrUnsupported):
		return c, fmt.Errorf("%w: %w", errs.Public(errs.Unsupported, "This is not a file that symbols are read from: an ELF, PE or Mach-O file, a PDB, a Breakpad symbol file or a mapping of ProGuard or R8."), err)
	case err != nil:
		return c, errs.Public(errs.KindOf(err), "The file cannot be read: %v.", err)
	}
	c.module, c.Format, c.Arch = o.Module, o.Format, o.Module.Arch
	c.symbols, c.debugInfo, c.rules = o.HasSymbols, o.HasDebugInfo, o.HasRules
	image := false
	switch o.Format {
	case "breakpad":
		err = c.breakpad(data)
	case "pe":
		var f *pe.File
		if f, err = pe.Parse(data); err == nil {
			image = f.HasCode()
			c.rank(image)
		}
	case "pdb":
		c.rank(false)
	case "macho":
		var f *macho.File
		if f, err = macho.Parse(data); err == nil {
			image = f.HasCode()
			c.rank(image)
			c.damaged(f.Problems)
		}
	default:
		var f *elf.File
		if f, err = elf.Parse(data); err == nil {
			image = f.HasCode()
			c.rank(image)
			c.damaged(f.Problems)
		}
	}
	switch {
	case err != nil:
		return c, errs.Public(errs.KindOf(err), "The file cannot be read: %v.", err)
	case c.SymRank == metadb.None && c.CfiRank == metadb.None:
		return c, errs.Public(errs.Invalid, "The file has no symbols, no debug information and no unwind rules: nothing can be learnt from it.")
	case c.module.ID.IsZero():
		return c, errs.Public(errs.Invalid, "The file has no debug id, so nothing would find it. Link with --build-id.")
	}
	c.DebugID, c.CodeID = c.module.ID.Breakpad(), string(c.module.CodeID)
	if err := c.checkID(info.DebugID); err != nil {
		return c, err
	}
	return c, c.name(info, image)
}

// mapping reads what a mapping file is. It is found by the UUID of its content, and by R8's hash as a code id.
func (c *content) mapping(data []byte, info *PutInfo) error {
	id := proguard.Identify(data)
	c.module.ID, c.module.Name = id.ID, "mapping.txt"
	c.Format, c.DebugID, c.CodeID, c.symbols = metadb.MappingFormat, id.ID.Breakpad(), id.MapHash, true
	if id.Changed {
		c.warning = "It was changed since R8 wrote it."
	}
	if err := c.checkID(info.DebugID); err != nil {
		return err
	}
	return c.name(info, true)
}

// breakpad counts the records of a .sym file.
func (c *content) breakpad(data []byte) error {
	f, err := breakpad.Parse(data, breakpad.Handler{}, breakpad.Options{})
	if err != nil {
		return err
	}
	n := &f.Counts
	c.module, c.CodeFile = f.Module, leaf(f.CodeFile)
	c.symbols, c.debugInfo, c.rules = n.Functions+n.Publics > 0, n.Functions > 0, n.CFIInits+n.Win > 0
	switch {
	case c.debugInfo:
		c.SymRank = metadb.Fair
	case c.symbols:
		c.SymRank = metadb.Poor
	}
	if c.rules {
		c.CfiRank = metadb.Poor
	}
	if bad := n.Bad + n.Unknown + n.TooLong; bad > 0 {
		c.warning = fmt.Sprintf("%d lines of it cannot be used.", bad)
	}
	return nil
}

// damaged warns of the first of the problems with a file's headers.
func (c *content) damaged(problems []debug.Problem) {
	if len(problems) > 0 {
		p := problems[0]
		c.warning = fmt.Sprintf("It is damaged, or was cut off: %s: %s.", cmp.Or(p.Where, p.Kind), cmp.Or(p.Detail, p.Kind))
	}
}

// rank says how good the file is; an image has the unwind rules of the code itself.
func (c *content) rank(image bool) {
	switch {
	case c.debugInfo:
		c.symbols, c.SymRank = true, metadb.Best
	case c.symbols:
		c.SymRank = metadb.Poor
	}
	switch {
	case c.rules && image:
		c.CfiRank = metadb.Best
	case c.rules:
		c.CfiRank = metadb.Fair
	}
}

// reason is what a reader says is wrong.
func reason(err error) string {
	var f *debug.FormatError
	if errors.As(err, &f) {
		return f.Reason
	}
	return err.Error()
}

// checkID refuses a claim that is neither the debug id nor the code id of the file.
func (c *content) checkID(claim string) error {
	if claim == "" {
		return nil
	}
	if id, err := debugid.Parse(claim); err == nil && id == c.module.ID || isHex(claim) && string(debugid.ParseCodeID(claim)) == c.CodeID {
		return nil
	}
	return errs.Public(errs.Invalid, "The debug id of the file is %s, but it was sent as %.80q.", c.DebugID, claim)
}

// isHex reports whether s is an id as paths have it.
func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefABCDEF-") == "" && strings.Trim(s, "-") != ""
}

// name gives the file its name and key (design.md §4.3). Of a name with folders, in whichever notation, the
// last part counts; a name that then cannot be part of a key is refused.
func (c *content) name(info *PutInfo, image bool) error {
	c.DebugFile = cmp.Or(leaf(c.module.Name), leaf(info.DebugFile), c.bare(leaf(info.Name)))
	suffix := ".dbg"
	if c.Format != "breakpad" {
		c.CodeFile = c.DebugFile
	}
	switch {
	case c.Format == "breakpad":
		c.Name, suffix = trimSuffix(c.DebugFile, ".pdb"), ".sym"
	case c.Format == "pdb":
		c.Name, suffix, c.CodeFile = c.DebugFile, "", ""
	case c.Format == "pe" && image: // its debug file is the PDB, which does not say what it is called itself
		c.CodeFile = cmp.Or(leaf(info.Name), c.DebugFile)
		c.Name, suffix = c.CodeFile, ""
	case image:
		c.Name, suffix = c.DebugFile, ""
	default:
		c.Name = c.DebugFile
	}
	c.Name += suffix
	c.Key = "v1/" + c.DebugFile + "/" + c.DebugID + "/" + c.Name
	switch {
	case c.DebugFile == "":
		return errs.Public(errs.Invalid, "The file does not say its name, and was sent without one.")
	case blob.CheckKey(c.Key) != nil, !utf8.ValidString(c.CodeFile), strings.ContainsFunc(c.CodeFile, unicode.IsControl):
		return errs.Public(errs.Invalid, "The name of the file, %.80q, is too long or has something in it that a name may not have.", c.DebugFile)
	}
	if claim := leaf(info.DebugFile); claim != "" && claim != c.DebugFile {
		c.warning = strings.TrimSpace(c.warning + fmt.Sprintf(" It calls itself %q, not %.80q.", c.DebugFile, claim))
	}
	return nil
}

// leaf returns the last part of a path of any system.
func leaf(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }

// bare returns the name of the image that a file was sent for.
func (c *content) bare(name string) string {
	name = trimSuffix(name, ".gz")
	if c.Format == "breakpad" {
		return trimSuffix(name, ".sym")
	}
	return trimSuffix(trimSuffix(name, ".debug"), ".dbg")
}

// trimSuffix is strings.TrimSuffix for suffixes in any case, but leaves something.
func trimSuffix(s, suffix string) string {
	if n := len(s) - len(suffix); n > 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n]
	}
	return s
}
