//go:build amd64

package cfi_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/object/elf"
	"salvage/internal/debugtest"
)

// tracee is a process that is stepped through.
type tracee struct {
	t       *testing.T
	pid     int
	mem     *os.File
	modules []tracedModule
	code    map[uint64][]byte // by page
}

type tracedModule struct {
	name       string
	start, end uint64 // of everything mapped from it
	rules      *cfi.Cache
}

// TestEveryPC steps through examples/crashapp, instruction by instruction, from main on: its own functions,
// libc's and libstdc++'s, signal handlers and exceptions. At each instruction the rules must give the caller
// that a shadow stack knows from the calls it saw: its return address and the stack pointer behind it.
func TestEveryPC(t *testing.T) {
	builds := [][]string{{"-O2"}, {"-O0"}, {"-O2", "-fomit-frame-pointer", "-fno-plt", "-no-pie"}}
	if testing.Short() {
		builds = builds[:1]
	}
	for _, flags := range builds {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			stepThrough(t, debugtest.Crashapp(t, "g++", flags...))
		})
	}
}

func stepThrough(t *testing.T, app string) {
	runtime.LockOSThread() // ptrace knows one thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(app, "work")
	cmd.Env = []string{"LD_BIND_NOW=1"} // the dynamic linker's lazy binding ends in a jump that returns elsewhere
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		debugtest.Require(t, "gdb", "ptrace: "+err.Error())
	}
	p := &tracee{t: t, pid: cmd.Process.Pid, code: map[uint64][]byte{}}
	defer syscall.Kill(p.pid, syscall.SIGKILL)
	var status syscall.WaitStatus
	p.wait(&status)
	var err error
	if p.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", p.pid)); err != nil {
		t.Fatal(err)
	}
	defer p.mem.Close()
	p.runTo(p.address(app, "main"))
	p.readModules()

	type frame struct {
		ret, cfa uint64
		signal   bool // of the trampoline: what was interrupted, which lies below no return address
	}
	var regs syscall.PtraceRegs
	p.regs(&regs)
	ret, _ := p.read(regs.Rsp, 8)
	shadow := []frame{{ret: ret, cfa: regs.Rsp + 8}} // of main
	steps, checked, wrong, ehReturn := 0, 0, 0, 0
	without := map[string]int{}
	signals, deliver, landing := 0, 0, uint64(0)
	for len(shadow) > 0 && steps < 3_000_000 {
		// Check.
		if m := p.moduleAt(regs.Rip); m == nil || m.rules == nil {
			name := "outside any module"
			if m != nil {
				name = m.name
			}
			without[name]++
		} else if rules, ok := m.rules.Lookup(regs.Rip - m.start); !ok {
			without[fmt.Sprintf("%s+%#x", m.name, regs.Rip-m.start)]++
		} else {
			checked++
			callee := registers(&regs)
			caller, err := rules.Unwind(&callee, p.read)
			top := shadow[len(shadow)-1]
			pc, _ := caller.Get(cfi.AMD64.PC)
			sp, _ := caller.Get(cfi.AMD64.SP)
			// The unwinder of libgcc ends in __builtin_eh_return: it replaces its return address by that of
			// the landing pad, then moves to the stack there; its rules say so, the shadow stack does not
			// know. A replaced address is in its place, or the rules point to it further up.
			if now, _ := p.read(sp-8, 8); err == nil && now == pc && !top.signal && strings.HasPrefix(m.name, "libgcc_s") && (sp > top.cfa || pc != top.ret) {
				ehReturn++
				landing = pc
				top.ret, top.cfa = pc, sp
			}
			if err != nil || pc != top.ret || sp != top.cfa {
				if wrong++; wrong <= 5 {
					t.Errorf("%s+%#x: caller %#x, CFA %#x, %v; recorded %#x, %#x", m.name, regs.Rip-m.start, pc, sp, err, top.ret, top.cfa)
				}
			}
		}
		// Step.
		before := regs
		if err := ptraceStep(p.pid, deliver); err != nil {
			t.Fatal("single-step: ", err)
		}
		handled := deliver
		deliver = 0
		p.wait(&status)
		if !status.Stopped() {
			t.Fatalf("the process ended after %d steps: %v", steps, status)
		}
		if s := status.StopSignal(); s != syscall.SIGTRAP {
			deliver = int(s) // arrives with the next step
		}
		steps++
		p.regs(&regs)
		switch {
		case handled != 0:
			// The handler was entered: the kernel pushed a frame whose return address is the trampoline.
			// In the trampoline the caller is what was interrupted.
			signals++
			ret, _ := p.read(regs.Rsp, 8)
			shadow = append(shadow, frame{ret: before.Rip, cfa: before.Rsp, signal: true}, frame{ret: ret, cfa: regs.Rsp + 8})
		case p.isCall(before.Rip, regs.Rip) && regs.Rsp == before.Rsp-8:
			ret, _ := p.read(regs.Rsp, 8)
			shadow = append(shadow, frame{ret: ret, cfa: regs.Rsp + 8})
		default:
			// Returned, or unwound over several frames by an exception.
			for len(shadow) > 0 && regs.Rsp >= shadow[len(shadow)-1].cfa {
				if top := shadow[len(shadow)-1]; regs.Rsp == top.cfa && regs.Rip != top.ret && regs.Rip != landing {
					break // popped into a register and about to jump
				}
				shadow = shadow[:len(shadow)-1]
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d instructions have another caller", wrong, checked)
	}
	if ehReturn == 0 || ehReturn > 60 { // some twenty instructions for the throw, and as many for each resume
		t.Errorf("%d instructions on the way to a landing pad", ehReturn)
	}
	if checked < 20_000 || signals != 1 || len(shadow) > 0 {
		t.Errorf("%d instructions checked, %d signals, %d frames left after %d steps", checked, signals, len(shadow), steps)
	}
	var list []string
	for where, n := range without {
		list = append(list, fmt.Sprintf("%s: %d", where, n))
	}
	sort.Strings(list)
	t.Logf("%d instructions checked, %d of them on the way to a landing pad; without rules: %s", checked, ehReturn, strings.Join(list, ", "))
}

// ptraceStep is syscall.PtraceSingleStep that can deliver a signal.
func ptraceStep(pid, signal int) error {
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, syscall.PTRACE_SINGLESTEP, uintptr(pid), 0, uintptr(signal), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func registers(r *syscall.PtraceRegs) (out cfi.Registers) {
	for i, v := range []uint64{r.Rax, r.Rdx, r.Rcx, r.Rbx, r.Rsi, r.Rdi, r.Rbp, r.Rsp, r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.Rip} {
		out.Set(uint8(i), v)
	}
	return out
}

func (p *tracee) wait(status *syscall.WaitStatus) {
	for {
		_, err := syscall.Wait4(p.pid, status, 0, nil)
		if err != syscall.EINTR {
			if err != nil {
				p.t.Fatal(err)
			}
			return
		}
	}
}

func (p *tracee) regs(r *syscall.PtraceRegs) {
	if err := syscall.PtraceGetRegs(p.pid, r); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tracee) read(addr uint64, size uint8) (uint64, bool) {
	var b [8]byte
	if _, err := p.mem.ReadAt(b[:size], int64(addr)); err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// isCall reports whether the instruction at pc is a call that may lead to target: e8, or ff /2.
func (p *tracee) isCall(pc, target uint64) bool {
	page := p.code[pc>>12]
	if page == nil {
		page = make([]byte, 4096+16)
		n, _ := p.mem.ReadAt(page, int64(pc&^0xfff))
		page = page[:n]
		p.code[pc>>12] = page
	}
	i := int(pc & 0xfff)
	for i < len(page) && (page[i]&0xf0 == 0x40 || page[i] == 0x3e || page[i] == 0xf2 || page[i] == 0x67) { // REX, notrack, bnd, addr32
		i++
	}
	if i+1 >= len(page) {
		return false
	}
	return page[i] == 0xe8 || page[i] == 0xff && page[i+1]>>3&7 == 2
}

// address returns where a symbol of the program is in the process.
func (p *tracee) address(app, name string) uint64 {
	data, err := os.ReadFile(app)
	if err != nil {
		p.t.Fatal(err)
	}
	f, err := elf.Parse(data)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, fn := range f.Functions() {
		if string(fn.Name) == name {
			for _, m := range p.maps() {
				if m.name == app {
					return m.start + fn.Addr
				}
			}
		}
	}
	p.t.Fatalf("no %s in %s", name, app)
	return 0
}

// runTo lets the process run to an address.
func (p *tracee) runTo(addr uint64) {
	var saved [8]byte
	if _, err := syscall.PtracePeekData(p.pid, uintptr(addr), saved[:]); err != nil {
		p.t.Fatal(err)
	}
	trap := saved
	trap[0] = 0xcc
	var regs syscall.PtraceRegs
	var status syscall.WaitStatus
	if _, err := syscall.PtracePokeData(p.pid, uintptr(addr), trap[:]); err != nil {
		p.t.Fatal(err)
	}
	if err := syscall.PtraceCont(p.pid, 0); err != nil {
		p.t.Fatal(err)
	}
	p.wait(&status)
	p.regs(&regs)
	if !status.Stopped() || regs.Rip != addr+1 {
		p.t.Fatalf("stopped at %#x, not %#x: %v", regs.Rip, addr, status)
	}
	regs.Rip = addr
	if _, err := syscall.PtracePokeData(p.pid, uintptr(addr), saved[:]); err != nil {
		p.t.Fatal(err)
	}
	if err := syscall.PtraceSetRegs(p.pid, &regs); err != nil {
		p.t.Fatal(err)
	}
}

// maps returns the files mapped, each with its whole range.
func (p *tracee) maps() (out []tracedModule) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 6 || fields[5][0] != '/' && fields[5] != "[vdso]" {
			continue
		}
		var start, end uint64
		fmt.Sscanf(fields[0], "%x-%x", &start, &end)
		if n := len(out); n > 0 && out[n-1].name == fields[5] {
			out[n-1].end = end
		} else {
			out = append(out, tracedModule{name: fields[5], start: start, end: end})
		}
	}
	return out
}

func (p *tracee) readModules() {
	for _, m := range p.maps() {
		var data []byte
		var err error
		if m.name == "[vdso]" {
			data = make([]byte, m.end-m.start)
			_, err = p.mem.ReadAt(data, int64(m.start))
		} else {
			data, err = os.ReadFile(m.name)
		}
		if err == nil && elf.Probe(data) {
			m.rules = ehFrame(p.t, data)
			m.name = filepath.Base(m.name)
			p.modules = append(p.modules, m)
		}
	}
}

func (p *tracee) moduleAt(addr uint64) *tracedModule {
	for i := range p.modules {
		if m := &p.modules[i]; addr >= m.start && addr < m.end {
			return m
		}
	}
	return nil
}
