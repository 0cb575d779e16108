package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// Crash is what a signature is made of. The JSON is siggen's crash data (crash-pipeline.md §3.1), of
// which keys that no rule here looks at are ignored.
//
// The decoders of Crash, Thread, Frame and Inline leave a value of the wrong type at zero and go on;
// integers may be quoted. Only text that is no JSON, and a crash that is no object, are errors.
type Crash struct {
	OS                string   `json:"os"`                  // "Windows NT" makes module names lower case
	CrashingThread    *int     `json:"crashing_thread"`     // index into Threads; nil where no thread is known to have crashed
	Threads           []Thread `json:"threads"`             //
	Reason            string   `json:"reason"`              // such as EXCEPTION_STACK_OVERFLOW
	OOMAllocationSize *uint64  `json:"oom_allocation_size"` // in bytes, of the allocation that failed
	AbortMessage      string   `json:"abort_message"`
	WalkerStatus      string   `json:"mdsw_status_string"` // of the stack walker
	Hang              *string  `json:"hang"`               // what hung: ui, shutdown

	JSLargeAllocationFailure string   `json:"js_large_allocation_failure"` // Reporting: that is what failed
	AsyncShutdownTimeout     string   `json:"async_shutdown_timeout"`      // JSON: phase and conditions
	IPCChannelError          string   `json:"ipc_channel_error"`
	IPCMessageName           string   `json:"ipc_message_name"`
	AdditionalMinidumps      []string `json:"additional_minidumps"`

	// Of a Java crash, which is one if either is there. Generate reads the structure, into which whoever
	// has a text turns it; with Defects the text comes first.
	JavaException  *JavaException `json:"java_exception"`
	JavaStackTrace string         `json:"java_stack_trace"`
}

// Thread is an element of threads in crash data and in the JSON of a stack walk.
type Thread struct {
	Frames         []Frame `json:"frames"` // innermost first
	LastErrorValue string  `json:"last_error_value"`
}

// Frame is a frame of a walked stack. An empty text and line 0 are what is not known.
type Frame struct {
	Function        string           `json:"function"`
	File            string           `json:"file"` // a path, C:path or vcs:root:path:revision
	Line            int              `json:"line"`
	Module          string           `json:"module"`
	ModuleOffset    string           `json:"module_offset"` // hexadecimal, like Offset
	Offset          string           `json:"offset"`        // the address
	Trust           string           `json:"trust"`         // of the stack walk: scan is a guess
	Inlines         []Inline         `json:"inlines"`       // calls inlined into Function, innermost first
	UnloadedModules []UnloadedModule `json:"unloaded_modules"`
}

// Inline is a call that the compiler put into its caller.
type Inline struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
}

// UnloadedModule was at a frame's address earlier.
type UnloadedModule struct {
	Module  string   `json:"module"`
	Offsets []string `json:"offsets"`
}

// number is an unsigned integer, quoted or not; nil for whatever else there is.
type number struct{ value *uint64 }

func (n *number) UnmarshalJSON(data []byte) error {
	if v, err := strconv.ParseUint(strings.Trim(string(data), `" `), 10, 64); err == nil {
		n.value = &v
	}
	return nil
}

func (n number) int() *int {
	if n.value == nil || *n.value > math.MaxInt32 {
		return nil
	}
	v := int(*n.value)
	return &v
}

func (n number) line() int {
	if v := n.int(); v != nil {
		return *v
	}
	return 0
}

// decode is json.Unmarshal, which goes on after a value of the wrong type, without the error for it.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return nil
	}
	return err
}

// UnmarshalJSON decodes crash data, and a processed crash, which has other fields by the same names and the
// stacks in json_dump.
func (c *Crash) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte("{")) && string(data) != "null" {
		return errors.New("crash data is not a JSON object")
	}
	type plain Crash
	wire := struct {
		*plain
		CrashingThread    number          `json:"crashing_thread"`
		OOMAllocationSize number          `json:"oom_allocation_size"`
		Walk              json.RawMessage `json:"json_dump"`
		JavaException     optionalJava    `json:"java_exception"`
	}{plain: (*plain)(c)}
	if err := decode(data, &wire); err != nil {
		return err
	}
	c.CrashingThread, c.OOMAllocationSize = wire.CrashingThread.int(), wire.OOMAllocationSize.value
	c.JavaException = wire.JavaException.JavaException
	if len(wire.Walk) == 0 {
		return nil
	}
	return c.SetWalk(wire.Walk)
}

// SetWalk takes the threads, the reason and the system of what a stack walker prints as JSON.
func (c *Crash) SetWalk(data []byte) error {
	var walk struct {
		CrashInfo struct {
			Type           string `json:"type"`
			CrashingThread number `json:"crashing_thread"`
		} `json:"crash_info"`
		SystemInfo struct {
			OS string `json:"os"`
		} `json:"system_info"`
		Threads []Thread `json:"threads"`
	}
	if err := decode(data, &walk); err != nil {
		return err
	}
	c.OS, c.Reason, c.CrashingThread, c.Threads = walk.SystemInfo.OS, walk.CrashInfo.Type, walk.CrashInfo.CrashingThread.int(), walk.Threads
	return nil
}

// UnmarshalJSON decodes a thread.
func (t *Thread) UnmarshalJSON(data []byte) error {
	type plain Thread
	return decode(data, (*plain)(t))
}

// UnmarshalJSON decodes a frame.
func (f *Frame) UnmarshalJSON(data []byte) error {
	type plain Frame
	wire := struct {
		*plain
		Line number `json:"line"`
	}{plain: (*plain)(f)}
	if err := decode(data, &wire); err != nil {
		return err
	}
	f.Line = wire.Line.line()
	return nil
}

// UnmarshalJSON decodes an inlined call.
func (i *Inline) UnmarshalJSON(data []byte) error {
	type plain Inline
	wire := struct {
		*plain
		Line number `json:"line"`
	}{plain: (*plain)(i)}
	if err := decode(data, &wire); err != nil {
		return err
	}
	i.Line = wire.Line.line()
	return nil
}

// crashing returns the thread that signatures are made of and its index: without a crashing thread the
// first.
func (c *Crash) crashing() (*Thread, int) {
	i := 0
	if c.CrashingThread != nil {
		i = *c.CrashingThread
	}
	if i < 0 || i >= len(c.Threads) {
		return &Thread{}, i
	}
	return &c.Threads[i], i
}
