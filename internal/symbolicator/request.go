package symbolicator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"salvage/internal/errs"
)

// job is one part of a request: addresses relative to modules.
type job struct {
	modules []library
	stacks  [][]address
}

// library is a module as the client spells it.
type library struct{ name, id string }

// address is an offset into a module of the job; module −1 is none.
type address struct {
	module int
	offset int64 // negative ones are never found
}

// badRequest is a mistake of the client, in the words of Eliot's API.
func badRequest(format string, args ...any) error { return errs.Public(errs.Invalid, format, args...) }

// parseRequest reads a request of either version: a list of jobs, or one job at the top. Sentences of errors
// are those of Eliot (symbols-server.md §3.3), which never echo what the client sent.
func parseRequest(body []byte, maxJobs int) ([]job, error) {
	if !json.Valid(body) {
		return nil, badRequest("Payload is not valid JSON")
	}
	raw := [][]byte{body}
	if top, ok := members(body, "jobs"); ok && top[0] != nil {
		s := scanner{text: top[0]}
		if !s.take('[') {
			return nil, badRequest("jobs must be a list")
		}
		for raw = nil; !s.end(len(raw)); {
			raw = append(raw, s.value())
		}
	}
	if len(raw) > maxJobs {
		return nil, badRequest("please limit number of jobs in a single request to <= %d", maxJobs)
	}
	jobs := make([]job, len(raw))
	for i, text := range raw {
		parts, ok := members(text, "stacks", "memoryMap")
		if !ok {
			return nil, badRequest("job %d is invalid", i)
		}
		for j, name := range []string{"stacks", "memoryMap"} {
			if parts[j] == nil {
				return nil, badRequest("job %d is invalid: no %s specified", i, name)
			}
		}
		var err error
		if jobs[i].modules, err = parseModules(parts[1]); err != nil {
			return nil, badRequest("job %d has invalid modules: %v", i, err)
		}
		if jobs[i].stacks, err = parseStacks(parts[0], len(jobs[i].modules)); err != nil {
			return nil, badRequest("job %d has invalid stacks: %v", i, err)
		}
	}
	return jobs, nil
}

const maxName = 1024 // bytes of a debug file or id, as Tecken had it

// parseModules takes any name, as samply does: an odd one is that module's problem, where Eliot refuses the
// whole request.
func parseModules(text []byte) ([]library, error) {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil || list == nil {
		return nil, fmt.Errorf("modules must be a list")
	}
	modules := make([]library, len(list))
	for i, item := range list {
		var pair []*string
		if json.Unmarshal(item, &pair) != nil || len(pair) != 2 || pair[0] == nil || pair[1] == nil {
			return nil, fmt.Errorf("module index %d does not have a debug_filename and debug_id", i)
		}
		if len(*pair[0]) > maxName || strings.ContainsRune(*pair[0], 0) {
			return nil, fmt.Errorf("module index %d has an invalid debug_filename", i)
		}
		if len(*pair[1]) > maxName {
			return nil, fmt.Errorf("module index %d has an invalid debug_id", i)
		}
		modules[i] = library{*pair[0], *pair[1]}
	}
	return modules, nil
}

// parseStacks reads [[[module, offset], …], …] of valid JSON.
func parseStacks(text []byte, modules int) (stacks [][]address, err error) {
	s := scanner{text: text}
	if !s.take('[') {
		return nil, fmt.Errorf("stacks must be a list of lists")
	}
	for n := 0; !s.end(n); n++ {
		if !s.take('[') {
			return nil, fmt.Errorf("stack %d is not a list", n)
		}
		var stack []address
		for f := 0; !s.end(f); f++ {
			bad := func(what string) error { return fmt.Errorf("stack %d frame %d %s", n, f, what) }
			if !s.take('[') {
				return nil, bad("is not a list of two items")
			}
			module, ok1 := s.integer()
			comma := s.take(',')
			offset, ok2 := s.integer()
			switch {
			case !comma:
				return nil, bad("is not a list of two items")
			case !ok1:
				return nil, bad("has an invalid module_index")
			case module < -1 || module >= int64(modules):
				return nil, bad("has a module_index that isn't in modules")
			case !ok2 || offset < -1:
				return nil, bad("has an invalid module_offset")
			case !s.take(']'):
				return nil, bad("is not a list of two items")
			}
			stack = append(stack, address{int(module), offset})
		}
		stacks = append(stacks, stack)
	}
	if len(stacks) == 0 {
		return nil, fmt.Errorf("no stacks specified")
	}
	return stacks, nil
}

// scanner walks over valid JSON, once: encoding/json would read the text again for each level of it.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) && bytes.IndexByte([]byte(" \t\r\n"), s.text[s.at]) >= 0 {
		s.at++
	}
}

// members returns the values of an object's members with these names; the last of a name counts. It is false
// where the text is no object.
func members(text []byte, names ...string) (values [][]byte, ok bool) {
	s := scanner{text: text}
	if !s.take('{') {
		return nil, false
	}
	values = make([][]byte, len(names))
	for n := 0; !s.end(n); n++ {
		var key string
		if json.Unmarshal(s.value(), &key) != nil || !s.take(':') {
			return nil, false
		}
		value := s.value()
		if i := slices.Index(names, key); i >= 0 {
			values[i] = value
		}
	}
	return values, true
}

// value steps over a value and returns it.
func (s *scanner) value() []byte {
	s.space()
	first, depth, quoted := s.at, 0, false
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case quoted && c == '\\':
			s.at++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		}
		if depth < 0 || depth == 0 && !quoted && s.at+1 < len(s.text) && bytes.IndexByte([]byte(",:]} \t\r\n"), s.text[s.at+1]) >= 0 {
			break
		}
	}
	s.at = min(s.at+1, len(s.text))
	return s.text[first:s.at]
}

// take steps over c, if that is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// end steps over what ends a list or an object, or over the comma before its item n.
func (s *scanner) end(n int) bool {
	if s.take(']') || s.take('}') {
		return true
	}
	if n > 0 {
		s.take(',')
	}
	return false
}

// integer reads a whole number; one of more than 18 digits is the largest there is, which no module has.
// What is no whole number is stepped over as far as a comma or bracket.
func (s *scanner) integer() (n int64, ok bool) {
	s.space()
	negative := s.at < len(s.text) && s.text[s.at] == '-'
	if negative {
		s.at++
	}
	first := s.at
	for ; s.at < len(s.text) && s.text[s.at]-'0' <= 9; s.at++ {
		if s.at-first < 18 {
			n = n*10 + int64(s.text[s.at]-'0')
		}
	}
	if s.at-first > 18 {
		n = math.MaxInt64
	}
	ok = s.at > first
	for ; s.at < len(s.text) && bytes.IndexByte([]byte(",]"), s.text[s.at]) < 0; s.at++ {
		ok = ok && bytes.IndexByte([]byte(" \t\r\n"), s.text[s.at]) >= 0
	}
	if negative {
		n = -n
	}
	return n, ok
}
