package web

import (
	"bytes"
	"encoding/json"
	"errors"
)

// walkDoc is what pages show of a stackwalk's JSON. Decoding is lenient: a value of a wrong type is as if
// it were not there, and of long lists only as much is kept as a page could show.
type walkDoc struct {
	CrashInfo struct {
		Type, Address, Assertion, Instruction string
		Adjusted                              struct{ Kind, Address, Offset string } `json:"adjusted_address"`
		Accesses                              capped[accessDoc]                      `json:"memory_accesses"`
		CrashingThread                        *int                                   `json:"crashing_thread"`
	} `json:"crash_info"`
	Crashing *threadDoc `json:"crashing_thread"`
	Crashpad struct {
		Annotations capped[pairDoc]
		ClientID    string `json:"client_id"`
		ReportID    string `json:"report_id"`
		Modules     capped[crashpadModuleDoc]
	}
	Modules capped[moduleDoc]
	Uptime  *int64 `json:"process_uptime"`
	System  struct {
		CPU     string `json:"cpu_arch"`
		CPUs    int    `json:"cpu_count"`
		CPUInfo string `json:"cpu_info"`
		OS      string
		Version string `json:"os_ver"`
	} `json:"system_info"`
	Distribution struct{ Description string } `json:"lsb_release"`
	Threads      capped[threadDoc]
}

type threadDoc struct {
	ID        *int64 `json:"thread_id"`
	Name      string `json:"thread_name"`
	Index     int    `json:"threads_index"` // of the crashing one
	LastError string `json:"last_error_value"`
	Frames    capped[frameDoc]
	Total     int `json:"total_frames"` // before the walker left some out; 0: it did not
}

type frameDoc struct {
	Number       int `json:"frame"`
	Function     string
	File         string
	Line         int
	Module       string
	ModuleOffset string `json:"module_offset"`
	Offset       string
	Trust        string
	NoName       string `json:"no_name_reason"`
	Inlines      capped[inlineDoc]
	Unloaded     capped[unloadedDoc] `json:"unloaded_modules"`
}

type inlineDoc struct {
	Function, File string
	Line           int
}

type unloadedDoc struct{ Module string }

type accessDoc struct {
	Address string
	Size    int
	Type    string `json:"access_type"`
}

type moduleDoc struct {
	Filename, Version string
	DebugFile         string `json:"debug_file"`
	DebugID           string `json:"debug_id"`
	CodeID            string `json:"code_id"`
	Base              string `json:"base_addr"`
	End               string `json:"end_addr"`
	Loaded            bool   `json:"loaded_symbols"`
	Missing           bool   `json:"missing_symbols"`
	Corrupt           bool   `json:"corrupt_symbols"`
	Reason            string `json:"symbols_reason"`
}

type pairDoc struct{ Name, Value string }

type crashpadModuleDoc struct {
	Module      string
	Annotations capped[pairDoc]
	Objects     capped[pairDoc]
	List        capped[textDoc]
}

type textDoc string

// How many of each are kept: from the start and from the end.
func (threadDoc) keep() (head, tail int)         { return 200, 0 }
func (frameDoc) keep() (head, tail int)          { return 250, 50 } // the end says who began
func (inlineDoc) keep() (head, tail int)         { return 30, 10 }
func (unloadedDoc) keep() (head, tail int)       { return 5, 0 }
func (accessDoc) keep() (head, tail int)         { return 8, 0 }
func (moduleDoc) keep() (head, tail int)         { return 1000, 0 }
func (pairDoc) keep() (head, tail int)           { return 500, 0 }
func (crashpadModuleDoc) keep() (head, tail int) { return 100, 0 }
func (textDoc) keep() (head, tail int)           { return 100, 0 }

// capped is the start and the end of a list.
type capped[T interface{ keep() (head, tail int) }] struct {
	Head, Tail []T
	Total      int
}

// UnmarshalJSON implements json.Unmarshaler. What is no list is an empty one.
func (c *capped[T]) UnmarshalJSON(data []byte) error {
	*c = capped[T]{}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil
	}
	var zero T
	head, tail := zero.keep()
	for d.More() {
		var v T
		if err := lenient(d.Decode(&v)); err != nil {
			return err
		}
		switch c.Total++; {
		case len(c.Head) < head:
			c.Head = append(c.Head, v)
		case tail == 0:
		case len(c.Tail) < tail:
			c.Tail = append(c.Tail, v)
		default: // a ring until all are read
			c.Tail[(c.Total-1-head)%tail] = v
		}
	}
	if len(c.Tail) == tail && tail > 0 {
		first := (c.Total - head) % tail
		c.Tail = append(append([]T{}, c.Tail[first:]...), c.Tail[:first]...)
	}
	return nil
}

// omitted is how many are between Head and Tail.
func (c *capped[T]) omitted() int { return c.Total - len(c.Head) - len(c.Tail) }

// lenient leaves out errors after which encoding/json went on.
func lenient(err error) error {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}
