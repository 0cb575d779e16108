package signature_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"salvage/signature"
)

// small has the entries that the examples of crash-pipeline.md §3.4 need.
var small = lists(map[string]string{
	"irrelevant_signature_re.txt":         "@0x[0-9a-f]{2,}\n@0x[1-9a-f]\nmozalloc_abort\ncore::panicking::\nquiet\\.so\n",
	"prefix_signature_re.txt":             "malloc\nNS_ABORT_OOM\n.*\\.dll\n@0x0\ncore::option::expect_failed\nvdso\nXUL\n",
	"signatures_with_line_numbers_re.txt": "js_Interpret\n",
	"signature_sentinels.txt":             "core::panicking::panic_fmt\n_sentinel\n",
})

// own is small for names and rules of Salvage's own.
var own = small.Own()

func lists(files map[string]string) *signature.Lists {
	folder := fstest.MapFS{}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	l, err := signature.Parse(folder)
	if err != nil {
		panic(err)
	}
	return l
}

func ExampleGenerate() {
	c := signature.Crash{CrashingThread: new(int), Threads: []signature.Thread{{Frames: []signature.Frame{
		{Function: "pthread_kill"}, {Function: "raise"}, {Function: "abort"},
		{Function: "void shop::Basket<shop::Item>::pay(shop::Card const&) const"}, {Function: "main"},
	}}}}
	r := signature.Generate(&c, nil)
	fmt.Println(r.Signature)
	for _, step := range r.Steps {
		fmt.Println(step)
	}
	// Output:
	// abort | shop::Basket<T>::pay
	// frame 0 "pthread_kill": irrelevant: matches (__GI_)?_{0,3}pthread_kill(_implementation|_internal)?(@|\$|$)
	// frame 1 "raise": irrelevant: matches (__GI_|__libc_)?raise(@|$)
	// frame 2 "abort": kept, prefix: continues after (__GI_|__libc_)?abort(@|$)
	// frame 3 "shop::Basket<T>::pay": kept, last: not a prefix
}

func TestFunction(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		rust       bool
		line       int
	}{
		// The tables of crash-pipeline.md §3.4.
		{name: "static void * Allocator<MozJemallocBase>::malloc(unsigned __int64)", want: "Allocator<T>::malloc"},
		{name: "void mozilla::dom::Foo<int, Bar<char>>::Run(int) const", want: "mozilla::dom::Foo<T>::Run"},
		{name: "`anonymous namespace'::DoIt(int)", want: "(anonymous namespace)::DoIt"},
		{name: "mozilla::Foo::operator()<int>(int) const", want: "mozilla::Foo::operator()<T>"},
		{name: "bool operator<(A const&, B const&)", want: "operator<"},
		{name: "nsTArray_Impl<T,nsTArrayInfallibleAllocator>::operator[](unsigned int)", want: "nsTArray_Impl<T>::operator[]"},
		{name: "foo(int a,int b) [clone .cold.222]", want: "foo"},
		{name: "a::$_12::b", want: "a::$::b"},
		{name: "IPC::ParamTraits<mozilla::Foo<int> >::Write(int)", want: "IPC::ParamTraits<mozilla::Foo<T> >::Write"},
		{name: "<unknown in foobar.dll>", want: "<unknown in foobar.dll>"},
		{name: "js_Interpret(JSContext*)", line: 10, want: "js_Interpret:10"},
		{name: "foo::bar(", want: "foo::bar"},
		{name: "static void style::foo::bar<alloc::String>(i32, &str)", rust: true, want: "style::foo::bar<T>"},
		{name: "<alloc::vec::Vec<T> as core::ops::Drop>::drop", rust: true, want: "<alloc::vec::Vec<T> as core::ops::Drop>::drop"},
		{name: "std::panicking::begin_panic::h0123456789abcdef", rust: true, want: "std::panicking::begin_panic"},
		// Computed with siggen 2.2.20241029.
		{name: "foo<int", want: "foo<T>"},
		{name: "a > b", want: "b"},
		{name: "a as b<c>", want: "b<T>"},
		{name: "x<a in b>", want: "x<a in b>"},
		{name: "foo<name omitted>", want: "foo<name omitted>"},
		{name: "void (anonymous namespace)::foo(int)", want: "void (anonymous namespace)::foo"},
		{name: "IPC::ParamTraits<IPC::ParamTraits<a<b>>>", want: "IPC::ParamTraits<IPC::ParamTraits<a<T>>>"},
		{name: "x::operator(", want: "x::operator("},
		{name: "f<a>(b) const &", want: "f<T>"},
		{name: "f<a in b>", rust: true, want: "f<T>"},
		{name: "[clone x] y", want: "y"},
		{name: "foo)", want: "foo)"},
		{name: "a::operator T *", want: "a::operator T*"},
		{name: "a::operator b,c , d", want: "a::operator b, c, d"},
		// Where siggen merges, splits or loses; what it makes of it is in the comment.
		{name: "core::ops::function::FnOnce::call_once<fn(i32) -> i32, (i32)>", rust: true, want: "core::ops::function::FnOnce::call_once<T>"}, // i32, >
		{name: "a<x->y>::z", want: "a<T>::z"},                                                  // a<T>y>::z
		{name: "f(int) const [clone .cold]", want: "f"},                                        // "const "
		{name: "f(int) [clone .isra.0] [clone .constprop.1]", want: "f"},                       // both kept
		{name: "f(int) (.llvm.1234)", want: "f"},                                               //
		{name: "f.part.0.cold.3", want: "f"},                                                   //
		{name: "f.llvm.123456789", want: "f"},                                                  //
		{name: "part.isra", want: "part.isra"},                                                 // no number: a name
		{name: ".cold", want: ".cold"},                                                         //
		{name: "foo::hadd", rust: true, want: "foo::hadd"},                                     // foo
		{name: "a::b::h0123456789abcdef", want: "a::b"},                                        // kept unless the file is .rs
		{name: "a::b::h0123456789abcdef.llvm.77", want: "a::b"},                                //
		{name: "a::$_1::$_2::$_3::x", want: "a::$::$::$::x"},                                   // a::$::$_2::$::x
		{name: "dom((anonymous namespace)::Q<int>, Foo)", want: "dom"},                         // parameters kept
		{name: "main.(*Server).Serve", want: "main.(*Server).Serve"},                           // main..Serve
		{name: "js_Interpret", want: "js_Interpret"},                                           // js_Interpret:None
		{name: "js_Interpret::h0123456789abcdef", rust: true, line: 3, want: "js_Interpret:3"}, // hash kept
		{name: "static Foo.bar(x: Swift.Int) async throws -> Swift.String", want: "Foo.bar"},   // Swift.String
		{name: "closure #1 (Swift.Int) -> () in Foo.bar() -> ()", want: "Foo.bar"},
		{name: "Foo.value.getter : Swift.Int", want: "Foo.value.getter"},
		{name: "void* operator new[](unsigned long)", want: "operator new[]"}, // new[]
		{name: "operator delete(void*, std::align_val_t)", want: "operator delete"},
		{name: "const", want: ""}, // raises
		{name: "  foo  ", want: "foo"},
	} {
		if got := small.Function(tt.name, tt.rust, tt.line); got != tt.want {
			t.Errorf("Function(%q, %v, %d) = %q, want %q", tt.name, tt.rust, tt.line, got, tt.want)
		}
		if tt.line == 0 {
			if again := small.Function(tt.want, tt.rust, 0); again != tt.want && !strings.Contains(tt.want, " ") {
				t.Errorf("Function(%q) = %q: not idempotent", tt.want, again)
			}
		}
	}
}

// stack is crash data with functions in a C++ file, all in one module.
func stack(extra string, functions ...string) string {
	var frames []map[string]any
	for _, f := range functions {
		frames = append(frames, map[string]any{"function": f, "module": "xul.dll", "file": "hg:host:a/b.cpp:12ab"})
	}
	text, _ := json.Marshal(frames)
	return fmt.Sprintf(`{"crashing_thread": 0, "threads": [{"frames": %s}]%s}`, text, extra)
}

func decode(t testing.TB, text string) *signature.Crash {
	t.Helper()
	var c signature.Crash
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &c
}

func TestGenerate(t *testing.T) {
	empty := "EMPTY: no frame data available"
	frames := func(os, list string) string {
		return `{"os": "` + os + `", "crashing_thread": 0, "threads": [{"frames": [` + list + `]}]}`
	}
	for _, tt := range []struct{ name, data, want string }{
		// The table of crash-pipeline.md §3.4.
		{"nothing", `{}`, empty},
		{"status", `{"mdsw_status_string": "EmptyMinidump"}`, empty + "; EmptyMinidump"},
		{"irrelevant, prefix", stack("", "mozalloc_abort", "malloc", "a::b(int)", "c::d"), "malloc | a::b"},
		{"only irrelevant", stack("", "mozalloc_abort"), "mozalloc_abort"},
		{"small", stack(`, "oom_allocation_size": 262144`, "x::y"), "OOM | small | x::y"},
		{"large", stack(`, "oom_allocation_size": 262145`, "x::y"), "OOM | large | x::y"},
		{"by name", stack("", "NS_ABORT_OOM", "x::y"), "OOM | unknown | NS_ABORT_OOM | x::y"},
		{"abort", stack(`, "abort_message": "[123] ###!!! ABORT: Main-thread-only object used off the main thread: file z.cpp, line 3"`, "x::y"),
			"Abort | Main-thread-only object used off the main thread | x::y"},
		{"modules", frames("Windows NT", `{"module":"Foo.DLL"},{"module":"foo.dll"},{"module":"bar.dll"},{"function":"x"}`), "foo.dll | bar.dll | x"},
		{"vdso", frames("Linux", `{"module":"[vdso]"}`), "vdso"},
		{"unloaded", frames("Linux", `{"unloaded_modules":[{"module":"u.dll","offsets":["0x1"]}]}`), "(unloaded u.dll)"},
		{"zero", frames("Linux", `{"offset":"0x00000000"}`), "@0x0"},
		{"file", frames("Linux", `{"file":"C:\\a\\b.cpp","line":3}`), "b.cpp#3"},
		{"rust", frames("Linux", `{"function":"core::fmt::write"},{"function":"core::panicking::panic_fmt"},{"function":"core::option::expect_failed"},{"function":"my::func"}`),
			"core::option::expect_failed | my::func"},
		{"rust 1.34", frames("Linux", `{"function":"x"},{"function":"panic_fmt","file":"git:host:src/libcore/panicking.rs:1"},{"function":"my::func"}`), "my::func"},
		// Single rules.
		{"Linux keeps case", frames("Linux", `{"module":"Foo.DLL"},{"function":"x"}`), "Foo.DLL"},
		{"sentinel", stack("", "on_top", "_sentinel", "x"), "_sentinel"},
		{"sentinel cut, then nothing", stack("", "on_top", "core::panicking::panic_fmt"), "core::panicking::panic_fmt"},
		{"revision", frames("Linux", `{"file":"git:host:a/foo.cpp:12ab","line":3}`), "foo.cpp#3"},
		{"nothing of the function", frames("Linux", `{"function":"(int)","module":"m"}`), "m"},
		{"nothing of the module", frames("Linux", `{"module":"[]","offset":"0x0"}`), "@0x0"},
		{"unnamed frames", frames("Linux", `{},{},{"function":"x"}`), "x"},
		{"only unnamed frames", frames("Linux", `{},{}`), empty},
		{"an address is better than nothing", frames("Linux", `{},{"offset":"0x00ABC"}`), "@0xabc"},
		{"inlines first", frames("Linux", `{"function":"outer","inlines":[{"function":"malloc"},{"function":"inner"}]}`), "malloc | inner"},
		{"other thread", `{"crashing_thread": 1, "threads": [{"frames":[{"function":"a"}]},{"frames":[{"function":"b"}]}]}`, "b"},
		{"no such thread", `{"crashing_thread": 7, "threads": [{"frames":[{"function":"a"}]}]}`, empty},
		{"no thread known", `{"crashing_thread": null, "threads": [{"frames":[{"function":"a"}]}]}`, "a"},
		{"negative thread", `{"crashing_thread": -1, "threads": [{"frames":[{"function":"a"}]}]}`, "a"},
		{"size of -1", stack(`, "oom_allocation_size": 18446744073709551615`, "x"), "OOM | large | x"},
		{"size 0", stack(`, "oom_allocation_size": 0`, "x"), "x"},
		{"size 0 and a reason", stack(`, "oom_allocation_size": 0, "reason": "STATUS_NO_MEMORY"`, "x"), "OOM | small | x"},
		{"reason", stack(`, "reason": "STATUS_FATAL_MEMORY_EXHAUSTION"`, "x"), "OOM | unknown | x"},
		{"last error", `{"crashing_thread":0,"threads":[{"frames":[{"function":"x"}],"last_error_value":"ERROR_COMMITMENT_LIMIT"}]}`, "OOM | unknown | x"},
		{"other last error", `{"crashing_thread":0,"threads":[{"frames":[{"function":"x"}],"last_error_value":"ERROR_SUCCESS"}]}`, "x"},
		{"abort says where only", stack(`, "abort_message": "###!!! ABORT: file a.cpp"`, "x"), "Abort | x"},
		{"abort without message", stack(`, "abort_message": " é "`, "x"), "Abort | x"},
		{"abort fonts", stack(`, "abort_message": "unable to find a usable font (a) (b) c"`, "x"), "Abort | unable to find a usable font c | x"},
		{"abort 80", stack(`, "abort_message": "`+strings.Repeat("m", 80)+`"`, "x"), "Abort | " + strings.Repeat("m", 80) + " | x"},
		{"abort 81", stack(`, "abort_message": "`+strings.Repeat("m", 81)+`"`, "x"), "Abort | " + strings.Repeat("m", 77) + "... | x"},
		{"stack overflow", stack(`, "reason": "EXCEPTION_STACK_OVERFLOW"`, "x"), "stackoverflow | x"},
		{"in order", `{"reason": "EXCEPTION_STACK_OVERFLOW", "mdsw_status_string": "bad", "abort_message": "m"}`, "stackoverflow | Abort | m | " + empty + "; bad"},
		{"status of a stack that is there", stack(`, "mdsw_status_string": "bad"`, "x"), "x"},
		{"whitespace", frames("Linux", `{"module":" a\tb\u0001c\n"}`), "a bc"},
		{"nothing printable", frames("Linux", `{"module":"日本"}`), "EMPTY: no printable characters"},
		{"255", stack("", strings.Repeat("f", 255)), strings.Repeat("f", 255)},
		// Ours: places in modules where there are no names, deep stacks.
		{"places", frames("Linux", `{"module":"libc.so.6","module_offset":"0x00012ab"},{"module":"[vdso]","module_offset":"0x1"},{"function":"x"}`), "libc.so.6@0x12ab | vdso@0x1"},
		{"three places", frames("Linux", `{"module":"a","module_offset":"0x1"},{"module":"a","module_offset":"0x2"},{"module":"a","module_offset":"0x2"},{"module":"a","module_offset":"0x4"}`), "a@0x1 | a@0x2 | a@0x2"},
		{"places and guesses", frames("Linux", `{"module":"a","module_offset":"0x1","trust":"scan"},{"module":"b","module_offset":"0x2","trust":"cfi"},{"module":"c","module_offset":"0x3","trust":"scan"},{"module":"d","module_offset":"0x4","trust":"cfi"}`), "a@0x1 | b@0x2"},
		{"irrelevant places", frames("Linux", `{"module":"quiet.so","module_offset":"0x1"},{"module":"a","module_offset":"0x2"}`), "a@0x2"},
		{"places of inlined calls", frames("Linux", `{"module":"a","module_offset":"0x1","inlines":[{}]},{"module":"b","module_offset":"0x2"}`), "a@0x1 | b@0x2"},
		{"module without a place", frames("Linux", `{"module":"a"}`), "a"},
		{"a name behind a module", frames("Windows NT", `{"module":"a.dll","module_offset":"0x1"},{"function":"f"}`), "a.dll | f"},
		{"deep", `{"crashing_thread":0,"reason":"SIGSEGV / SEGV_MAPERR","threads":[{"frames":[` + strings.Repeat(`{"function":"f"},`, 499) + `{"function":"f"}]}]}`, "stackoverflow | f"},
		{"not so deep", `{"crashing_thread":0,"threads":[{"frames":[` + strings.Repeat(`{"function":"f"},`, 498) + `{"function":"f"}]}]}`, "f"},
		// Rules of siggen that the table does not have.
		{"bad hardware", stack(`, "reason": "EXCEPTION_IN_PAGE_ERROR_READ / STATUS_DEVICE_DATA_ERROR"`, "x"), "bad hardware | x"},
		{"large allocation", stack(`, "js_large_allocation_failure": "Reporting", "oom_allocation_size": 5`, "x"), "OOM | large | x"},
		{"shutdown", stack(`, "async_shutdown_timeout": "{\"phase\":\"p\",\"conditions\":[{\"name\":\"b\"},\"a\"]}"`, "x"), "AsyncShutdownTimeout | p | a,b"},
		{"shutdown, no object", stack(`, "async_shutdown_timeout": "[]"`, "x"), "AsyncShutdownTimeout | UNKNOWN"},
		{"watchdog", `{"crashing_thread":1,"threads":[{"frames":[{"function":"main::wait"}]},{"frames":[{"function":"mozilla::(anonymous namespace)::RunWatchdog(void*)"}]}]}`, "shutdownhang | main::wait"},
		{"all at once", stack(`, "ipc_channel_error": "ShutDownKill", "additional_minidumps": ["upload_file_minidump_browser"], "ipc_message_name": "PB::Msg", "hang": "ui", "reason": "EXCEPTION_STACK_OVERFLOW"`, "x"),
			"hang: ui | stackoverflow | IPCError-browser | ShutDownKill | IPC_Message_Name=PB::Msg"},
		{"256", stack("", strings.Repeat("f", 256)), strings.Repeat("f", 252) + "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := decode(t, tt.data)
			r := signature.Generate(c, own)
			if r.Signature != tt.want {
				t.Errorf("Generate(%s) = %q, want %q\n%v", tt.data, r.Signature, tt.want, r.Steps)
			}
			check(t, c, r)
		})
	}
}

func TestFortyEntries(t *testing.T) {
	for n, want := range map[int]string{39: "x", 40: "mozalloc_abort"} {
		functions := append(slices.Repeat([]string{"mozalloc_abort"}, n), "x")
		r := signature.Generate(decode(t, stack("", functions...)), small)
		if r.Signature != want || len(strings.Split(r.Proto, " | ")) != 40 {
			t.Errorf("%d irrelevant frames above x: %q, %q", n, r.Signature, r.Proto)
		}
	}
}

func TestNotes(t *testing.T) {
	for _, tt := range []struct{ data, want string }{
		{stack("", "x"), ""},
		{`{}`, "SignatureGenerationRule: no frame data for crashing thread (0)"},
		{stack("", "mozalloc_abort"), "SignatureGenerationRule: no frame data for crashing thread (0)"},
		{`{"threads": [{"frames":[{"function":"a"}]}]}`, "SignatureGenerationRule: no crashing thread is known; thread 0 is taken"},
		{stack("", "é"), "SigPrintableCharsOnly: unprintable characters removed"},
		{stack("", strings.Repeat("f", 255)), ""},
		{stack("", strings.Repeat("f", 256)), "SigTruncate: signature truncated due to length"},
	} {
		if got := strings.Join(signature.Generate(decode(t, tt.data), small).Notes, "\n"); got != tt.want {
			t.Errorf("notes of %.90s = %q, want %q", tt.data, got, tt.want)
		}
	}
}

func TestSteps(t *testing.T) {
	c := decode(t, `{"os":"Windows NT","crashing_thread":0,"reason":"EXCEPTION_STACK_OVERFLOW","threads":[{"frames":[
		{"function":"above"},{"function":"_sentinel2"},{"function":"core::panicking::panic_fmt"},{},{"module":"A.dll"},{"module":"a.dll"},
		{"function":"f","inlines":[{"function":"malloc"}]},{"function":"below"}]}]}`)
	want := []string{
		`frame 0 "above": skipped: above the sentinel core::panicking::panic_fmt`,
		`frame 1 "_sentinel2": skipped: above the sentinel core::panicking::panic_fmt`,
		`frame 2 "core::panicking::panic_fmt": irrelevant: matches core::panicking::`,
		`frame 3 "": skipped: nothing is known of it`,
		`frame 4 "a.dll": kept, prefix: continues after .*\.dll`,
		`frame 5 "a.dll": skipped: the same module again`,
		`inlined call of frame 6 "malloc": kept, prefix: continues after malloc`,
		`frame 6 "f": kept, last: not a prefix`,
		`StackOverflowSignature: "a.dll | malloc | f" becomes "stackoverflow | a.dll | malloc | f"`,
	}
	r := signature.Generate(c, small)
	var got []string
	for _, s := range r.Steps {
		got = append(got, s.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("steps:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"signature":"stackoverflow | a.dll | malloc | f"`, `"proto_signature":"above | `, `"notes":[]`,
		`{"rule":"SignatureGenerationRule","frame":0,"name":"above","verdict":"above sentinel","pattern":"core::panicking::panic_fmt"}`,
		`{"rule":"SignatureGenerationRule","frame":6,"inline":true,"name":"malloc","verdict":"prefix","pattern":"malloc"}`,
		`{"rule":"StackOverflowSignature","before":"a.dll | malloc | f","after":"stackoverflow | a.dll | malloc | f"}`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("JSON lacks %s:\n%s", part, text)
		}
	}
	fallback := signature.Generate(decode(t, stack("", "mozalloc_abort")), small).Steps
	if s := fallback[len(fallback)-1]; s.Verdict != signature.Fallback || s.String() != `frame 0 "mozalloc_abort": kept: nothing else is left` {
		t.Errorf("last step: %v", s)
	}
}

// check holds for every crash and result.
func check(t testing.TB, c *signature.Crash, r signature.Result) {
	t.Helper()
	if r.Signature == "" || len(r.Signature) > 255 || r.Signature != strings.Join(strings.Fields(r.Signature), " ") {
		t.Errorf("signature %q", r.Signature)
	}
	if i := strings.IndexFunc(r.Signature, func(c rune) bool { return c < ' ' || c > '~' }); i >= 0 {
		t.Errorf("signature %q has an unprintable character", r.Signature)
	}
	if len(r.Proto) > 43*1100 {
		t.Errorf("proto signature of %d bytes", len(r.Proto))
	}
	if r.Notes == nil || r.Steps == nil {
		t.Error("notes or steps are nil")
	}
	// The steps tell the whole story: the frames kept, then each rule from one signature to the next.
	var kept []string
	now, frames, size := "", 0, 0
	for _, s := range r.Steps {
		size += len(s.Name) + len(s.Before) + len(s.After)
		switch s.Verdict {
		case signature.Prefix, signature.Last, signature.Fallback:
			kept = append(kept, s.Name)
		case "":
			if now == "" && len(kept) > 0 {
				now = strings.Join(kept, " | ")
			} else if now == "" {
				now = "EMPTY: no frame data available"
			}
			if s.Before != now || s.After == now {
				t.Errorf("step %v follows %q", s, now)
			}
			now = s.After
		}
		if s.Frame != nil && (*s.Frame < 0 || *s.Frame >= 40) {
			t.Errorf("step of frame %d", *s.Frame)
		}
		if s.Frame != nil {
			frames++
		}
	}
	if now == "" && len(kept) > 0 {
		now = strings.Join(kept, " | ")
	}
	if now != r.Signature && !strings.HasPrefix(r.Signature, "EMPTY") {
		t.Errorf("steps lead to %q, the signature is %q", now, r.Signature)
	}
	if frames > 41 || size > 20*41*1100 {
		t.Errorf("%d steps of frames, %d bytes", frames, size)
	}
}

// A signature stays when the program is loaded elsewhere, built again with other hashes, clones and lines, or its
// threads come in another order.
func TestStable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"abort", "std::terminate()", "a::f<int>(char)", "b::g::h%016x", "c::h(int) [clone .isra.%d]", "d.llvm.%d", "e::$_%d::f()",
		"core::panicking::panic_fmt::h%016x", "malloc", "operator new(unsigned long)", "x::y", "static void z(int, int)", ""}
	build := func(picks []int) *signature.Crash {
		at := rng.IntN(5)
		c := &signature.Crash{CrashingThread: &at, Threads: make([]signature.Thread, at+1+rng.IntN(3))}
		for i := range c.Threads {
			if i != at {
				c.Threads[i].Frames = []signature.Frame{{Function: names[rng.IntN(5)]}}
			}
		}
		for _, p := range picks {
			name := names[p]
			if strings.Contains(name, "%") {
				name = fmt.Sprintf(name, rng.Uint64()>>1)
			}
			f := signature.Frame{Function: name, File: fmt.Sprintf("git:host:a/b.rs:%x", rng.Uint32()), Line: 1 + rng.IntN(1000),
				Module: "app", ModuleOffset: fmt.Sprintf("%#x", rng.Uint32()), Offset: fmt.Sprintf("%#016x", rng.Uint64())}
			if name == "" {
				f = signature.Frame{Offset: f.Offset}
			}
			if p%2 == 0 {
				f.File = fmt.Sprintf("/build/%d/b.cpp", rng.Uint32())
			}
			c.Threads[at].Frames = append(c.Threads[at].Frames, f)
		}
		return c
	}
	for range 500 {
		picks := []int{10} // something to name it by
		for range rng.IntN(12) {
			picks = append([]int{rng.IntN(len(names))}, picks...)
		}
		a, b := build(picks), build(picks)
		ra, rb := signature.Generate(a, nil), signature.Generate(b, nil)
		if ra.Signature != rb.Signature {
			t.Fatalf("%q and %q of %v", ra.Signature, rb.Signature, picks)
		}
		check(t, a, ra)
	}
}

// short is n where time is short, as with the race detector, else all.
func short(n, all int) int {
	if testing.Short() {
		return n
	}
	return all
}

// hostile is the length of a hostile name.
func hostile() int { return short(1<<17, 1<<20) }

// A hostile name may cost time linear in its length: a quadratic algorithm would not end.
func TestHostileNames(t *testing.T) {
	for _, unit := range []string{"<", ">", "(", ")", "[", "]", "`", "'", "{", " ", "a ", "(x) ", ",", " ,", "->", " -> ", " : ", "operator<", "operator ", "a::$_1::",
		"IPC::ParamTraits<", "IPC::ParamTraits<a>", "[clone ", " [clone a]", " (.cold)", ".cold", ".llvm.1", ".1", "::h0123456789abcdef", "(anonymous namespace)", "`anonymous namespace'",
		"<a as b>", "< in ", "const ", "&", "*", ":", "/", `\`, "é", "\xff", "\x00", "f() throws ", "abort", "@0x"} {
		name := strings.Repeat(unit, hostile()/len(unit))
		if unit == "IPC::ParamTraits<" {
			name += strings.Repeat(">", strings.Count(name, "<"))
		}
		c := &signature.Crash{AbortMessage: name, WalkerStatus: name, Threads: []signature.Thread{{Frames: []signature.Frame{
			{Function: name, File: "a.rs"}, {Function: name}, {Function: "x " + name + " y"}, {File: name, Line: 1}, {Module: name}, {Offset: name}, {UnloadedModules: []signature.UnloadedModule{{Module: name}}},
		}}}}
		r := signature.Generate(c, nil)
		check(t, c, r)
	}
}

func TestDecode(t *testing.T) {
	// The frame of a stack walk's JSON.
	c := decode(t, `{"threads":[{"frame_count":1,"frames":[{"file":null,"frame":0,"function":"f","function_offset":"0x1","inlines":[{"file":"a.c","function":"g","line":7}],
		"line":12,"missing_symbols":false,"module":"app","module_offset":"0x10","offset":"0x0000000000000010","registers":{"rip":"0x1"},"trust":"context","unloaded_modules":[{"module":"u","offsets":["0x1"]}]}],
		"last_error_value":null,"thread_id":5,"thread_name":null}]}`)
	f := c.Threads[0].Frames[0]
	if f.Function != "f" || f.Line != 12 || f.Module != "app" || f.ModuleOffset != "0x10" || f.Offset != "0x0000000000000010" ||
		f.Inlines[0] != (signature.Inline{Function: "g", File: "a.c", Line: 7}) || f.UnloadedModules[0].Module != "u" || f.UnloadedModules[0].Offsets[0] != "0x1" {
		t.Errorf("%+v", f)
	}
	// Wrong types, and what is around them.
	c = decode(t, `{"os":5,"crashing_thread":"1","reason":["x"],"oom_allocation_size":"5","abort_message":{},"mdsw_status_string":"s","threads":[
		"x", {"frames":[7,null,{"function":5,"file":[],"line":"12","module":"m","inlines":[3,{"function":{},"line":"x","file":"i.c"}],"unloaded_modules":"no"},{"line":1e99,"function":"g"}],"last_error_value":3}, {"frames":"x"}]}`)
	if c.CrashingThread == nil || *c.CrashingThread != 1 || c.OS != "" || c.Reason != "" || *c.OOMAllocationSize != 5 || c.WalkerStatus != "s" || len(c.Threads) != 3 {
		t.Fatalf("%+v", c)
	}
	frames := c.Threads[1].Frames
	if len(frames) != 4 || frames[2].Module != "m" || frames[2].Line != 12 || frames[2].Inlines[1].File != "i.c" || frames[3].Function != "g" || frames[3].Line != 0 {
		t.Errorf("%+v", frames)
	}
	for _, text := range []string{`[1]`, `5`, `"x"`, `{"os": }`, ``} {
		if err := json.Unmarshal([]byte(text), new(signature.Crash)); err == nil {
			t.Errorf("%q is crash data", text)
		}
	}
}

func FuzzGenerate(f *testing.F) {
	f.Add(stack("", "mozalloc_abort", "std::f<a, b>(int) const [clone .cold]", "x"))
	f.Add(`{"os":"Windows NT","crashing_thread":1,"reason":"EXCEPTION_STACK_OVERFLOW","oom_allocation_size":9999999,"abort_message":"###!!! ABORT: x: file y","threads":[{"frames":[]},{"frames":[{"module":"A.dll","inlines":[{"function":"core::panicking::panic::h0123456789abcdef","file":"x.rs"}],"unloaded_modules":[{"module":"u"}],"offset":"0x0"}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var c signature.Crash
		if json.Unmarshal([]byte(text), &c) != nil {
			c = signature.Crash{AbortMessage: text, Threads: []signature.Thread{{Frames: []signature.Frame{{Function: text}, {Function: text, File: "x.rs", Line: 2}, {File: text, Line: 1}, {Module: text}, {Offset: text}}}}}
		}
		for _, l := range []*signature.Lists{small, nil} {
			check(t, &c, signature.Generate(&c, l))
		}
	})
}
