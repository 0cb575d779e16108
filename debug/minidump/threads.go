package minidump

import "salvage/debug/internal/cursor"

// Thread is a thread of the process (MINIDUMP_THREAD).
type Thread struct {
	ID                                    uint32
	Name                                  string
	SuspendCount, PriorityClass, Priority uint32
	TEB                                   uint64 // address of its environment block; Windows
	// Stack is the memory of the stack from where the writer took it to be in use. Writers that keep stacks
	// in a memory list only leave it to be found there by its address. Empty if the dump has none.
	Stack   Region
	Context *Context // nil if there is none that can be read
	Info    *ThreadInfo
}

// ThreadInfo is what Windows knows of a thread besides (MINIDUMP_THREAD_INFO).
type ThreadInfo struct {
	Flags, Error                       uint32 // MINIDUMP_THREAD_INFO_…; why the writer failed, if it did
	ExitStatus                         uint32
	Create, Exit, KernelTime, UserTime uint64 // in units of 100 ns, the first two since 1601
	Start, Affinity                    uint64 // address of the function it began in; a bit per processor
}

func (p *parser) threads() {
	p.list(StreamThreadList, 48, p.limits.Threads, func(_ uint32, c *cursor.Cursor) {
		t := Thread{ID: c.U32(), SuspendCount: c.U32(), PriorityClass: c.U32(), Priority: c.U32(), TEB: c.U64()}
		stack := c.U64()
		memory, context := readLocation(c), readLocation(c)
		if t.Stack = p.region(stack, memory.rva, memory.size); t.Stack.Data == nil {
			t.Stack, _ = p.d.Memory.At(stack)
		}
		t.Context = p.context(context, t.ID)
		p.d.Threads = append(p.d.Threads, t)
	})

	names := map[uint32]string{}
	p.list(StreamThreadNames, 12, p.limits.Threads, func(_ uint32, c *cursor.Cursor) {
		id := c.U32()
		if name, ok := p.utf16(rva(c.U64()), "name of thread %d", id); ok {
			names[id] = name // where a thread has several, the last
		}
	})
	infos := map[uint32]*ThreadInfo{}
	p.extendedList(StreamThreadInfoList, 12, 64, 4, p.limits.Threads, func(_ uint32, c *cursor.Cursor) {
		id := c.U32()
		i := ThreadInfo{Flags: c.U32(), Error: c.U32(), ExitStatus: c.U32()}
		i.Create, i.Exit, i.KernelTime, i.UserTime, i.Start, i.Affinity = c.U64(), c.U64(), c.U64(), c.U64(), c.U64(), c.U64()
		infos[id] = &i
	})
	for i := range p.d.Threads {
		t := &p.d.Threads[i]
		t.Name, t.Info = names[t.ID], infos[t.ID]
	}
}

// LastError returns the value of Windows' GetLastError in thread t, if the dump has the memory it lies in.
func (d *Dump) LastError(t *Thread) (uint32, bool) {
	if d.System == nil || d.System.CPU == CPUUnknown || t.TEB == 0 {
		return 0, false
	}
	c := cursor.New(d.Memory.Read(t.TEB+13*uint64(d.System.CPU.PointerSize()), 4), "minidump", "TEB").BigEndian(d.BigEndian)
	v := c.U32()
	return v, c.Err() == nil
}

// Exception says why the dump was written (MINIDUMP_EXCEPTION_STREAM). Its fields mean what the
// writer's system makes of them:
//
//	Windows  an EXCEPTION_RECORD
//	Linux    Code is the signal, Flags si_code, Address si_addr
//	macOS    Code is the Mach exception, Flags its code, Address its subcode or the faulting address
type Exception struct {
	ThreadID      uint32
	Code, Flags   uint32
	Record        uint64 // address of the exception this one came on top of
	Address       uint64
	NumParameters uint32     // as claimed
	Information   [15]uint64 // the parameters, and what the writer left behind them
	Context       *Context   // at the time of the exception; nil if there is none that can be read
}

// Parameters returns the first NumParameters elements of Information, or all 15 if more are claimed.
func (e *Exception) Parameters() []uint64 {
	return e.Information[:min(e.NumParameters, uint32(len(e.Information)))]
}

func (p *parser) exception() {
	var context location
	p.d.Exception = read(p, StreamException, func(c *cursor.Cursor) Exception {
		e := Exception{ThreadID: c.U32()}
		c.Skip(4)
		e.Code, e.Flags, e.Record, e.Address, e.NumParameters = c.U32(), c.U32(), c.U64(), c.U64(), c.U32()
		c.Skip(4)
		for i := range e.Information {
			e.Information[i] = c.U64()
		}
		context = readLocation(c)
		return e
	})
	if e := p.d.Exception; e != nil {
		if e.NumParameters > uint32(len(e.Information)) {
			p.problem("bad record", "%d parameters", e.NumParameters)
		}
		e.Context = p.context(context, e.ThreadID)
	}
}
