package stackwalk

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"salvage/debug/minidump"
	"salvage/debug/triage"
)

// WriteJSON writes the report as one JSON object without a newline behind it: the keys, types and spellings
// of minidump-stackwalk 0.27, with all objects sorted by key, and null for what is not known. What it has
// no key for is in keys of ours, which are there only where they say something:
//
//	crash_info.exception        the exception record: code, flags, parameters
//	crash_info.likely_…         null_pointer, stack_overflow: the address is close to 0, to the end of the stack
//	crash_info.memory_accesses[].is_likely_null_pointer_dereference
//	crash_info.possible_bit_flips_version  of the heuristic
//	crashpad                    what Crashpad's client and handler wrote down
//	handle_operations           how many operations on handles are in a log of them
//	modules[].symbols_reason    why symbols are missing or corrupt
//	threads[].frames_truncated  true: frames were left out in the middle; frames[].frame counts them
//	threads[].total_frames      how many there were; frame_count is how many are listed
//	frames[].arguments          if they were asked for: convention, list[] with name and value
//	frames[].no_name_reason     why function is null
//	frames[].no_rules           true: the module has no unwind rules for the address
//	frames[].rules_failed_reason  why its unwind rules did not lead to the caller
//
// Whatever bytes the dump has, the result is valid JSON in valid UTF-8. An error is the writer's.
func (r *Report) WriteJSON(w io.Writer, pretty bool) error {
	e := &jsonReport{encoder{w: bufio.NewWriter(w), pretty: pretty}, r}
	e.report()
	return e.w.Flush()
}

type jsonReport struct {
	encoder
	*Report
}

func (e *jsonReport) report() {
	e.object(func() {
		e.name("crash_info")
		e.crashInfo()
		if i := e.Crashing; i >= 0 && len(e.Threads[i].Frames) > 0 {
			e.name("crashing_thread")
			e.thread(i, true)
		}
		if c := e.Dump.Crashpad; c != nil {
			e.name("crashpad")
			e.crashpad(c)
		}
		if n := e.Dump.HandleOperations; n > 0 {
			e.field("handle_operations", n)
		}
		e.name("handles")
		e.known(e.Dump.Handles != nil, func() {
			e.list(len(e.Dump.Handles), func(i int) {
				h := &e.Dump.Handles[i]
				e.object(func() {
					e.field("handle", h.Handle)
					e.field("object_name", known(h.Object, h.HasObject))
					e.field("type_name", known(h.Type, h.HasType))
				})
			})
		})
		e.field("linux_memory_map_count", known(e.mapCount()))
		if e.Dump.Linux.LSBRelease == nil {
			e.field("lsb_release", nil)
		} else {
			d := e.Dump.Linux.Distribution()
			e.name("lsb_release")
			e.object(func() {
				e.field("codename", d.Codename)
				e.field("description", d.Description)
				e.field("id", d.ID)
				e.field("release", d.Release)
			})
		}
		e.field("mac_boot_args", known(e.Dump.MacBootArgs, e.Dump.HasMacBootArgs))
		e.name("mac_crash_info")
		e.known(e.Dump.MacCrashInfo != nil, e.macCrashInfo)
		e.field("main_module", 0) // the first in the list
		e.name("modules")
		e.list(len(e.Modules), func(i int) { e.module(&e.Modules[i]) })
		e.field("modules_contains_cert_info", e.anyCertificate())
		e.field("pid", known(e.pid()))
		e.name("proc_limits")
		e.known(e.Dump.Linux.Limits != nil, e.limits)
		e.field("process_uptime", known(e.uptime()))
		e.name("soft_errors")
		e.any(e.softErrors())
		e.field("status", "OK")
		e.name("system_info")
		e.systemInfo()
		e.field("thread_count", len(e.Threads))
		e.name("threads")
		e.list(len(e.Threads), func(i int) { e.thread(i, false) })
		e.name("unloaded_modules")
		e.list(len(e.Dump.Unloaded), func(i int) { e.unloaded(&e.Dump.Unloaded[i]) })
	})
}

func (e *jsonReport) macCrashInfo() {
	hex := func(v uint64) any { return known(e.hex(v), v != 0) }
	records := e.Dump.MacCrashInfo
	e.object(func() {
		e.field("num_records", len(records))
		e.name("records")
		e.list(len(records), func(i int) {
			m := &records[i]
			e.object(func() {
				e.field("abort_cause", hex(m.AbortCause))
				e.field("backtrace", orNull(m.Backtrace))
				e.field("dialog_mode", hex(m.DialogMode))
				e.field("message", orNull(m.Message))
				e.field("message2", orNull(m.Message2))
				e.field("module", orNull(m.Module))
				e.field("signature_string", orNull(m.Signature))
				e.field("thread", hex(m.Thread))
			})
		})
	})
}

func (e *jsonReport) limits() {
	value := func(l minidump.Limit) any {
		if l.Unlimited {
			return "unlimited"
		}
		return l.Value
	}
	e.object(func() {
		e.name("limits")
		e.list(len(e.Dump.Linux.Limits), func(i int) {
			l := &e.Dump.Linux.Limits[i]
			e.object(func() {
				e.field("hard", value(l.Hard))
				e.field("name", l.Name)
				e.field("soft", value(l.Soft))
				e.field("unit", l.Unit)
			})
		})
	})
}

func (e *jsonReport) crashInfo() {
	crashing := known(e.Crashing, e.Crashing >= 0) // an index
	assertion := orNull(e.assertion())
	if e.Crash == nil {
		e.object(func() {
			for _, key := range []string{"address", "adjusted_address"} {
				e.field(key, nil)
			}
			e.field("assertion", assertion)
			e.field("crash_inconsistencies", nil)
			e.field("crashing_thread", crashing)
			for _, key := range []string{"instruction", "instruction_pointer_update", "memory_accesses", "possible_bit_flips", "type"} {
				e.field(key, nil)
			}
		})
		return
	}
	c := e.Crash
	i := c.Instruction
	if i == nil {
		i = &triage.Instruction{}
	}
	e.object(func() {
		e.field("address", e.hex(c.Address))
		switch c.Adjusted {
		case triage.NotAdjusted:
			e.field("adjusted_address", nil)
		case triage.NullPointer:
			e.name("adjusted_address")
			e.object(func() {
				e.field("kind", "null-pointer")
				e.field("offset", e.hex(c.AdjustedAddress))
			})
		case triage.NonCanonical:
			e.name("adjusted_address")
			e.object(func() {
				e.field("address", e.hex(c.AdjustedAddress))
				e.field("kind", "non-canonical")
			})
		}
		e.field("assertion", assertion)
		e.name("crash_inconsistencies")
		e.list(len(c.Inconsistencies), func(i int) { e.value(c.Inconsistencies[i]) })
		e.field("crashing_thread", crashing)
		e.name("exception")
		e.exception(e.Dump.Exception)
		e.field("instruction", orNull(i.Text))
		e.name("instruction_pointer_update")
		if i.HasTarget {
			e.object(func() { e.field("address", e.hex(i.Target)) })
		} else {
			e.value(nil)
		}
		for _, fact := range []struct {
			key   string
			holds bool
		}{{"likely_null_pointer", c.NullPointer}, {"likely_stack_overflow", c.StackOverflow}} {
			if fact.holds {
				e.field(fact.key, true)
			}
		}
		e.name("memory_accesses")
		if i.AccessesKnown {
			e.list(len(i.Accesses), func(k int) { e.access(&i.Accesses[k]) })
		} else {
			e.value(nil)
		}
		e.name("possible_bit_flips")
		if len(c.BitFlips) == 0 {
			e.value(nil)
		} else {
			e.list(len(c.BitFlips), func(k int) { e.bitFlip(&c.BitFlips[k]) })
			e.field("possible_bit_flips_version", 1)
		}
		e.field("type", c.Reason)
	})
}

func (e *jsonReport) exception(x *minidump.Exception) {
	e.object(func() {
		e.field("code", fmt.Sprintf("0x%08x", x.Code))
		e.field("flags", fmt.Sprintf("0x%08x", x.Flags))
		e.name("parameters")
		e.list(len(x.Parameters()), func(i int) { e.value(fmt.Sprintf("0x%x", x.Information[i])) })
	})
}

func (e *jsonReport) access(a *triage.Access) {
	e.object(func() {
		if text := accessText(a); text != "" {
			e.field("access_type", strings.ToLower(text))
		}
		e.field("address", e.hex(a.Address))
		if a.GuardPage {
			e.field("is_likely_guard_page", true)
		}
		if a.NullPointer {
			e.field("is_likely_null_pointer_dereference", true)
		}
		e.field("size", known(int(a.Size), a.Size != 0))
	})
}

// accessText says what an access does, in the words of the text.
func accessText(a *triage.Access) (text string) {
	if a.Read {
		text = "Read"
	}
	if a.Write {
		text += "Write"
	}
	return text
}

func (e *jsonReport) bitFlip(f *triage.BitFlip) {
	e.object(func() {
		e.field("address", e.hex(f.Address))
		e.field("confidence", f.Confidence)
		e.name("details")
		e.object(func() {
			e.field("is_null", f.Null)
			e.field("nearby_registers", f.NearbyRegisters)
			e.field("poison_registers", f.Poison)
			e.field("was_low", f.Low)
			e.field("was_non_canonical", f.NonCanonical)
		})
		e.field("source_register", orNull(f.Register))
	})
}

func (e *jsonReport) systemInfo() {
	s := e.system()
	microcode, ok := e.microcode()
	e.object(func() {
		e.field("cpu_arch", s.CPU.String())
		e.field("cpu_count", int(s.Processors))
		e.field("cpu_info", orNull(cpuInfo(s)))
		e.field("cpu_microcode_version", known("0x"+strconv.FormatUint(microcode, 16), ok))
		e.field("os", osName(s))
		e.field("os_ver", osVersion(s))
	})
}

func (e *jsonReport) module(m *Module) {
	e.object(func() {
		e.field("base_addr", e.hex(m.Addr))
		e.field("cert_subject", known(e.certificate(m.Name)))
		e.field("code_id", string(m.CodeID))
		e.field("corrupt_symbols", m.Symbols.Corrupt)
		file, id := m.DebugFile, m.DebugID
		if id.IsZero() && !m.Symbols.DebugID.IsZero() {
			file, id = m.Symbols.DebugFile, m.Symbols.DebugID
		}
		e.field("debug_file", leaf(file))
		e.field("debug_id", id.Breakpad())
		e.field("end_addr", e.hex(m.End()))
		e.field("filename", leaf(m.Name))
		e.field("loaded_symbols", m.Symbols.Loaded)
		e.field("missing_symbols", m.Symbols.Missing)
		e.field("symbol_url", orNull(m.Symbols.URL))
		if m.Symbols.Reason != "" {
			e.field("symbols_reason", m.Symbols.Reason)
		}
		e.field("version", orNull(m.Version))
	})
}

func (e *jsonReport) unloaded(m *minidump.UnloadedModule) {
	e.object(func() {
		e.field("base_addr", e.hex(m.Addr))
		e.field("cert_subject", known(e.certificate(m.Name)))
		e.field("code_id", string(m.CodeID))
		e.field("end_addr", e.hex(m.Addr+uint64(m.Size)))
		e.field("filename", m.Name) // with its path
	})
}

// thread writes thread i, in the form that is a field of its own if it is the crashing one.
func (e *jsonReport) thread(i int, crashing bool) {
	t := &e.Threads[i]
	e.object(func() {
		e.field("frame_count", len(t.Frames))
		e.name("frames")
		e.list(len(t.Frames), func(k int) { e.frame(i, k, crashing && k == 0) })
		if t.Cut > 0 {
			e.field("frames_truncated", true)
		}
		e.field("last_error_value", known(t.lastError()))
		e.field("thread_id", t.ID)
		e.field("thread_name", known(t.threadName()))
		if crashing {
			e.field("threads_index", i)
		}
		if t.Cut > 0 {
			e.field("total_frames", t.Total)
		}
	})
}

func (e *jsonReport) frame(thread, k int, registers bool) {
	t := &e.Threads[thread]
	f := &t.Frames[k]
	e.object(func() {
		if a := f.Arguments; a != nil {
			e.name("arguments")
			e.arguments(a)
		}
		e.field("file", orNull(f.File))
		e.field("frame", t.number(k))
		e.field("function", orNull(f.Function))
		e.field("function_offset", known(e.hex(f.Lookup-f.Start), f.Function != ""))
		e.name("inlines")
		if f.Inlines == nil {
			e.value(nil)
		} else {
			e.list(len(f.Inlines), func(i int) {
				c := &f.Inlines[i]
				e.object(func() {
					e.field("file", orNull(c.File))
					e.field("function", c.Function)
					e.field("line", known(c.Line, c.Line != 0))
				})
			})
		}
		e.field("line", known(f.Line, f.Line != 0))
		e.field("missing_symbols", f.Function == "")
		if m := f.Module; m != nil {
			e.field("module", leaf(m.Name))
			e.field("module_offset", e.hex(f.Lookup-m.Addr))
		} else {
			e.field("module", nil)
			e.field("module_offset", nil)
		}
		if f.Function == "" && f.NoName != "" {
			e.field("no_name_reason", f.NoName)
		}
		if f.NoRules {
			e.field("no_rules", true)
		}
		e.field("offset", e.hex(f.Lookup))
		if registers {
			_, values := e.registers(thread, f)
			e.name("registers")
			e.object(func() {
				for _, name := range slices.Sorted(maps.Keys(values)) {
					e.field(name, e.registerHex(values[name]))
				}
			})
		}
		if f.Failed != nil {
			e.field("rules_failed_reason", f.Failed.Error())
		}
		e.field("trust", f.Trust.String())
		e.name("unloaded_modules")
		if f.Unloaded == nil {
			e.value(nil)
			return
		}
		e.list(len(f.Unloaded), func(i int) {
			u := &f.Unloaded[i]
			e.object(func() {
				e.field("module", u.Name)
				e.name("offsets")
				e.list(len(u.Offsets), func(i int) { e.value(e.hex(u.Offsets[i])) })
			})
		})
	})
}

func (e *jsonReport) arguments(a *Arguments) {
	convention := "cdecl"
	if a.This {
		convention = "thiscall"
	}
	e.object(func() {
		e.field("convention", convention)
		e.name("list")
		e.list(len(a.List), func(i int) {
			e.object(func() {
				e.field("name", a.List[i].Name)
				e.field("value", known(e.hex(uint64(a.List[i].Value)), a.List[i].Known))
			})
		})
	})
}

// crashpad writes lists of annotations rather than objects, since names may repeat.
func (e *jsonReport) crashpad(c *minidump.Crashpad) {
	e.object(func() {
		e.name("annotations")
		e.annotations(c.Annotations)
		e.field("client_id", orNull(c.ClientID))
		e.name("modules")
		e.list(len(c.Modules), func(i int) {
			m := &c.Modules[i]
			e.object(func() {
				e.name("annotations")
				e.annotations(m.Annotations)
				e.name("list")
				e.list(len(m.List), func(i int) { e.value(m.List[i]) })
				e.field("module", known(e.moduleName(m.Index)))
				e.field("module_index", m.Index)
				e.name("objects")
				e.list(len(m.Objects), func(i int) {
					a := &m.Objects[i]
					e.object(func() {
						e.field("name", a.Name)
						e.field("type", int(a.Type))
						if a.Type == minidump.AnnotationString {
							e.field("value", strings.ToValidUTF8(string(a.Value), "\uFFFD"))
						} else {
							e.field("value", hex.EncodeToString(a.Value))
						}
					})
				})
			})
		})
		e.field("report_id", orNull(c.ReportID))
	})
}

func (e *jsonReport) annotations(list []minidump.KeyValue) {
	e.list(len(list), func(i int) {
		e.object(func() {
			e.field("name", list[i].Key)
			e.field("value", list[i].Value)
		})
	})
}

// moduleName returns the name of the module with an index of the file, where modules may be missing here.
func (r *Report) moduleName(index uint32) (string, bool) {
	i, ok := slices.BinarySearchFunc(r.Dump.Modules, index, func(m minidump.Module, index uint32) int { return cmp.Compare(m.Index, index) })
	if !ok {
		return "", false
	}
	return leaf(r.Dump.Modules[i].Name), true
}

// number returns the number of frame k among all frames of the thread, those left out included.
func (t *Thread) number(k int) int {
	if t.Cut > 0 && k >= t.Cut {
		return k + t.Total - len(t.Frames)
	}
	return k
}

func orNull(s string) any { return known(s, s != "") }
