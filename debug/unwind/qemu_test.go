package unwind_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvage/debug/cfi"
	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/object"
	"salvage/debug/object/elf"
	"salvage/debug/unwind"
	"salvage/internal/debugtest"
)

// stub is a program that runs in qemu under the remote protocol of gdb.
type stub struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	code map[uint64][]byte // by page
}

// startStub starts a program, stopped at its first instruction.
func startStub(t *testing.T, qemu, app string, args ...string) *stub {
	socket := filepath.Join(t.TempDir(), "gdb")
	cmd := exec.Command(qemu, append([]string{"-g", socket, app}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	s := &stub{t: t, code: map[uint64][]byte{}}
	for range 500 { // another program's progress can only be polled
		var err error
		if s.conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s.conn == nil {
		t.Fatal("qemu does not listen")
	}
	t.Cleanup(func() { s.conn.Close() })
	s.in = bufio.NewReaderSize(s.conn, 1<<16)
	return s
}

// ask sends a packet and returns the answer.
func (s *stub) ask(packet string) string {
	sum := byte(0)
	for i := range len(packet) {
		sum += packet[i]
	}
	if _, err := fmt.Fprintf(s.conn, "$%s#%02x", packet, sum); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.in.ReadString('$'); err != nil {
		s.t.Fatalf("%s: %v", packet, err)
	}
	answer, err := s.in.ReadString('#')
	if err != nil {
		s.t.Fatalf("%s: %v", packet, err)
	}
	s.in.Discard(2)
	s.conn.Write([]byte("+"))
	return strings.TrimSuffix(answer, "#")
}

func (s *stub) registers() (r [33]uint64) {
	b, err := hex.DecodeString(s.ask("g")[:33*16])
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range r {
		r[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return r
}

// memory reads size bytes, or those before the first piece that is not there. qemu's packets hold 2 KiB.
func (s *stub) memory(addr uint64, size int) (b []byte) {
	for len(b) < size {
		piece, err := hex.DecodeString(s.ask(fmt.Sprintf("m%x,%x", addr+uint64(len(b)), min(size-len(b), 1024))))
		if err != nil || len(piece) == 0 {
			break
		}
		b = append(b, piece...)
	}
	return b
}

func (s *stub) instruction(pc uint64) uint32 {
	page, ok := s.code[pc>>10]
	if !ok {
		page = s.memory(pc&^1023, 1024)
		s.code[pc>>10] = page
	}
	if len(page) < 1024 {
		return 0
	}
	return binary.LittleEndian.Uint32(page[pc&1023:])
}

// imageProvider knows a statically linked program.
type imageProvider struct {
	rules     *cfi.Cache
	functions []elf.Function // by address
	blind     bool           // as if there were no rules
}

func (p *imageProvider) Rules(_ *minidump.Module, addr uint64) (cfi.Rules, bool) {
	if p.blind {
		return cfi.Rules{}, false
	}
	return p.rules.Lookup(addr)
}

func (p *imageProvider) function(addr uint64) *elf.Function {
	i, found := slices.BinarySearchFunc(p.functions, addr, func(f elf.Function, addr uint64) int {
		if f.Addr <= addr {
			return -1
		}
		return 1
	})
	if _ = found; i == 0 || addr-p.functions[i-1].Addr >= p.functions[i-1].Size {
		return nil
	}
	return &p.functions[i-1]
}

func (p *imageProvider) Covered(_ *minidump.Module, addr uint64) (covered, known bool) {
	return p.function(addr) != nil, true
}

func (p *imageProvider) Function(_ *minidump.Module, addr uint64) (start, params uint64, known bool) {
	if f := p.function(addr); f != nil {
		return f.Addr, 0, true
	}
	return 0, 0, false
}

func image(t *testing.T, app string) (*imageProvider, *elf.File) {
	data, err := os.ReadFile(app)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	o, err := object.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	b := cfi.NewBuilder(cfi.CPUByName(f.Arch()), false)
	if err := o.Rules(b, new(object.Report)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := b.Write(&out, f.DebugID()); err != nil {
		t.Fatal(err)
	}
	p := &imageProvider{functions: f.Functions()}
	if p.rules, err = cfi.Parse(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(p.functions, func(a, b elf.Function) int { return int(int64(a.Addr - b.Addr)) })
	return p, f
}

// TestEveryPC steps through examples/crashapp on arm64, instruction by instruction, from main
// until it wakes another thread. At each the callers must be those that a shadow stack knows from the calls it saw.
func TestEveryPC(t *testing.T) {
	qemu := debugtest.Program(t, "qemu", "qemu-aarch64")
	compiler := debugtest.Program(t, "qemu", "aarch64-linux-gnu-g++")
	builds := [][]string{{"-O2", "-mbranch-protection=standard"}, {"-O0"}, {"-O2", "-fomit-frame-pointer"}}
	if testing.Short() {
		builds = builds[:1]
	}
	for _, flags := range builds {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			app := debugtest.Crashapp(t, compiler, append(flags, "-static-pie")...)
			stepThrough(t, startStub(t, qemu, app, "work"), app)
		})
	}
}

// shadowFrame is a call that has not returned: where it goes on, and the stack pointer then.
type shadowFrame struct {
	ret, sp uint64
	signal  bool // what a signal interrupted
}

func stepThrough(t *testing.T, s *stub, app string) {
	p, f := image(t, app)
	base := f.ImageBase()
	fmt.Sscanf(s.ask("qOffsets"), "Text=%x", &base) // position-independent: where it was loaded
	var main uint64
	for _, fn := range p.functions {
		if string(fn.Name) == "main" {
			main = base + fn.Addr
		}
	}
	s.ask(fmt.Sprintf("Z0,%x,4", main))
	if stop := s.ask("c"); main == 0 || !strings.HasPrefix(stop, "T05") {
		t.Fatalf("at main %#x: %s", main, stop)
	}
	s.ask(fmt.Sprintf("z0,%x,4", main))
	d, err := minidump.Parse(minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.ARM64, Platform: minidumptest.Linux}).
		Module(minidumptest.Module{Addr: base, Size: 0x400000, Name: app}).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	r := s.registers()
	shadow := []shadowFrame{{ret: r[30], sp: r[31]}} // of main
	top := r[31] + 512
	stats := map[string]int{}
	wrong := 0
	complain := func(format string, args ...any) {
		if wrong++; wrong <= 8 {
			t.Errorf(format, args...)
		}
	}
	at := func(pc uint64) string {
		if fn := p.function(pc - base); fn != nil {
			return fmt.Sprintf("%s+%#x", fn.Name, pc-base-fn.Addr)
		}
		return fmt.Sprintf("%#x", pc)
	}
	stop := ""
	for steps := 0; len(shadow) > 0 && steps < 100_000 && wrong < 50; steps++ {
		stack := s.memory(r[31], int(min(top-r[31], 1<<13)))
		state := minidump.Context{CPU: minidump.CPUARM64}
		copy(state.Regs[:], r[:])
		region := minidump.Region{Addr: r[31], Data: stack}
		s1 := unwind.Walk(t.Context(), d, &state, region, p, unwind.Limits{})
		where := at(r[32])
		if strings.Contains(where, "pthread_cond_broadcast") { // wakes a second thread, whose stops would mix with the first one's
			break
		}
		// The unwinder of libgcc moves to a landing pad at the end of these: it replaces their return address.
		moving := strings.Contains(where, "_Unwind_R") || strings.Contains(where, "_Unwind_ForcedUnwind")
		_, hasRules := p.rules.Lookup(r[32] - base)
		for i := range shadow {
			want := shadow[len(shadow)-1-i]
			if !hasRules && !want.signal && i == 0 {
				stats["no rules at "+where]++
				break
			}
			if i+1 >= len(s1.Frames) {
				complain("%s: step %d: frame %d is missing, want %s; %s", where, steps, i+1, at(want.ret), list(s1))
				break
			}
			got := s1.Frames[i+1]
			sp, _ := got.Registers.Get(31)
			if got.PC != want.ret || sp != want.sp || got.Trust != unwind.TrustCFI || (got.Lookup == got.PC) != want.signal {
				for k := range i {
					moving = moving || strings.Contains(at(shadow[len(shadow)-1-k].ret), "_Unwind_R")
				}
				if moving {
					stats["on the way to a landing pad"]++
				} else {
					complain("%s: step %d: frame %d is %s, stack pointer %#x, %v, want %s, %#x\n%s", where, steps, i+1, at(got.PC), sp, got.Trust, at(want.ret), want.sp, list(s1))
				}
				break
			}
			stats["frames"]++
		}
		stats["instructions"]++
		// Without rules.
		p.blind = true
		s2 := unwind.Walk(t.Context(), d, &state, region, p, unwind.Limits{Frames: 4})
		p.blind = false
		if want := shadow[len(shadow)-1]; len(s2.Frames) > 1 && !want.signal {
			got := s2.Frames[1]
			sp, _ := got.Registers.Get(31)
			right := got.PC == want.ret
			switch {
			case got.Trust == unwind.TrustScan && sp == r[31]: // by the link register
				if stats["link register"]++; !right && !strings.Contains(where, "_Unwind_R") {
					complain("%s: step %d: the link register leads to %s, not to %s", where, steps, at(got.PC), at(want.ret))
				}
			case right:
				stats["blind: right"]++
			default:
				stats["blind: wrong"]++
			}
		}
		// Step.
		before, word := r, s.instruction(r[32])
		packet := "s"
		if stop != "" && stop != "05" {
			packet = "vCont;S" + stop
		}
		delivered := packet != "s"
		answer := s.ask(packet)
		if answer == "" || answer[0] != 'T' {
			t.Fatalf("the process ended after %d steps: %s", steps, answer)
		}
		stop = answer[1:3]
		r = s.registers()
		isCall := word>>26 == 0x25 || word&0xfffffc1f == 0xd63f0000
		isReturn := word&0xfffffc1f == 0xd65f0000
		switch {
		case delivered && r[31]+4000 < before[31]: // the handler was entered
			stats["signals"]++
			// The handler's first instruction is done, and may have moved the stack pointer; x29 tells where it was.
			shadow = append(shadow, shadowFrame{ret: before[32], sp: before[31], signal: true}, shadowFrame{ret: r[30], sp: r[29] - 4688})
		case isCall && r[32] != before[32]+4:
			shadow = append(shadow, shadowFrame{ret: before[32] + 4, sp: r[31]})
		default:
			for len(shadow) > 0 {
				last := shadow[len(shadow)-1]
				landed := isReturn && r[31] >= last.sp && r[32] != last.ret && moving
				resumed := last.signal && r[32] == last.ret+4 // sigreturn and the instruction there are one step
				if r[31] > last.sp || (r[32] == last.ret || resumed) && r[31] == last.sp || landed {
					shadow = shadow[:len(shadow)-1]
					continue
				}
				break
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d wrong", wrong)
	}
	var lines []string
	for k, n := range stats {
		lines = append(lines, k+": "+strconv.Itoa(n))
	}
	slices.Sort(lines)
	t.Log(strings.Join(lines, "\n"))
	if n := stats["on the way to a landing pad"]; n == 0 || n > 1500 { // two throws, each copying the registers one by one
		t.Errorf("%d instructions on the way to a landing pad", n)
	}
	if stats["instructions"] < 20_000 || stats["signals"] != 1 || stats["link register"] == 0 {
		t.Error("the program did not do what it should")
	}
}
