package signature_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"salvage/signature"
)

func TestParse(t *testing.T) {
	files := func(irrelevant string) fstest.MapFS {
		return fstest.MapFS{
			"irrelevant_signature_re.txt":         {Data: []byte(irrelevant)},
			"prefix_signature_re.txt":             {Data: []byte("p\r\n\n  # comment\n")},
			"signatures_with_line_numbers_re.txt": {},
			"signature_sentinels.txt":             {Data: []byte("s(\n")},
		}
	}
	for _, tt := range []struct {
		irrelevant string
		want       []string // parts of the error; none: no error
	}{
		{"a\n#b(\n\n c \n", nil},
		{"a\n# x\nb(\nc\n", []string{"irrelevant_signature_re.txt:3: ", "`b(`"}},
		{"a\n\nx*\nb)\n", []string{`irrelevant_signature_re.txt:3: "x*" matches every frame`, "irrelevant_signature_re.txt:4: ", "`b)`"}},
		{"(?=x)", []string{"irrelevant_signature_re.txt:1: "}},
		{"a|", []string{"matches every frame"}},
	} {
		l, err := signature.Parse(files(tt.irrelevant))
		if (err == nil) != (tt.want == nil) || (l == nil) != (err != nil) {
			t.Errorf("Parse(%q): %v", tt.irrelevant, err)
		}
		for _, part := range tt.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("Parse(%q): %v lacks %s", tt.irrelevant, err, part)
			}
		}
	}
	for name := range files("") {
		folder := files("")
		delete(folder, name)
		if _, err := signature.Parse(folder); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestMatching(t *testing.T) {
	l := lists(map[string]string{
		"irrelevant_signature_re.txt": "lit\nend$\na|b\n(?i)upper\n.*suffix\nboth\n", "prefix_signature_re.txt": "both\npre\n",
		"signatures_with_line_numbers_re.txt": "", "signature_sentinels.txt": "sent\n",
	})
	for functions, want := range map[string]string{
		"literal x":     "x", // from the start, not to the end
		"xliteral x":    "xliteral",
		"xlit x":        "xlit",
		"end x":         "x",
		"ending x":      "ending",
		"bx x":          "x",
		"xb x":          "xb", // an alternative is anchored too
		"UPPERmost x":   "x",
		"Literal x":     "Literal",
		"any_suffix x":  "x",
		"both x":        "x", // irrelevant wins
		"prefix x":      "prefix | x",
		"y x sent z":    "sent",
		"y sentinel x":  "y", // sentinels are whole
		"y sent pre z":  "sent",
		"sent y sent z": "sent",
	} {
		if r := signature.Generate(decode(t, stack("", strings.Fields(functions)...)), l); r.Signature != want {
			t.Errorf("%s: %q, want %q", functions, r.Signature, want)
		}
	}
}

// Typical ends of programs, innermost frame first.
func TestDefault(t *testing.T) {
	for _, tt := range []struct{ name, stack, want string }{
		{"glibc assertion", "__pthread_kill_implementation|__pthread_kill_internal|__GI___pthread_kill|__GI_raise|__GI_abort|__assert_fail_base|__GI___assert_fail|shop::pay(int)|main", "__GI___assert_fail | shop::pay"},
		{"glibc heap corruption", "__GI_raise|__GI_abort|__libc_message|malloc_printerr|_int_free|__GI___libc_free|shop::pay(int)", "__GI_abort | malloc_printerr | __GI___libc_free | shop::pay"},
		{"glibc memcpy", "__memmove_avx_unaligned_erms|shop::pay(int)", "shop::pay"},
		{"glibc strlen", "__strlen_evex|shop::pay(int)", "shop::pay"},
		{"strlen", "strlen|shop::pay(int)", "strlen | shop::pay"},
		{"own names that start alike", "strlen_of_basket|shop::pay(int)", "strlen_of_basket"},
		{"own abort", "abortTransaction(int)|main", "abortTransaction"},
		{"own raise", "raisePrice()|main", "raisePrice"},
		{"own malloc", "mallocator::get()|main", "mallocator::get"},
		{"own Drop", "<shop::Basket as core::ops::drop::Drop>::drop|main", "<shop::Basket as core::ops::drop::Drop>::drop"},
		{"C++ exception, own handler", "raise|abort|shop::onTerminate()|__cxxabiv1::__terminate(void (*)())|std::terminate()|__cxa_throw|shop::pay(int)", "std::terminate | shop::pay"},
		{"libstdc++ exception", "raise|abort|__gnu_cxx::__verbose_terminate_handler()|__cxxabiv1::__terminate(void (*)())|std::terminate()|__cxa_throw|std::__throw_out_of_range_fmt(char const*, ...)|std::vector<int, std::allocator<int> >::at(unsigned long)|shop::pay(int)", "std::terminate | std::vector<T>::at | shop::pay"},
		{"operator new", "raise|abort|std::terminate()|__cxa_throw|operator new(unsigned long)|shop::pay(int)", "std::terminate | operator new | shop::pay"},
		{"pure virtual", "raise|abort|std::terminate()|__cxa_pure_virtual|shop::pay(int)", "std::terminate | __cxa_pure_virtual | shop::pay"},
		{"stack smashing", "raise|abort|__libc_message|__GI___fortify_fail|__stack_chk_fail|shop::pay(int)", "__stack_chk_fail | shop::pay"},
		{"signal handler", "shop::report()|__restore_rt|shop::pay(int)", "shop::pay"},
		{"Rust panic", "abort|std::sys::pal::unix::abort_internal|std::process::abort|std::panicking::rust_panic_with_hook|std::panicking::begin_panic_handler::{{closure}}|std::sys::backtrace::__rust_end_short_backtrace|rust_begin_unwind|core::panicking::panic_fmt|core::option::unwrap_failed|core::option::Option<T>::unwrap|shop::pay::h0123456789abcdef", "core::option::unwrap_failed | shop::pay"},
		{"Rust bounds", "shop::hook|std::panicking::rust_panic_with_hook|rust_begin_unwind|core::panicking::panic_fmt|core::panicking::panic_bounds_check|<usize as core::slice::index::SliceIndex<[T]>>::index|shop::pay", "shop::pay"},
		{"Go panic", "runtime.raise.abi0|runtime.dieFromSignal|runtime.sigfwdgo|runtime.crash|runtime.fatalpanic|runtime.gopanic|runtime.goPanicIndex|shop.(*Basket).Pay|main.main", "shop.(*Basket).Pay"},
		{"Go nil", "runtime.gopanic|runtime.panicmem|runtime.sigpanic|shop.Pay|main.main", "shop.Pay"},
		{"Go map", "runtime.fatal|runtime.mapassign_faststr|shop.Pay|main.main", "runtime.mapassign_faststr | shop.Pay"},
		{"Windows C++ exception", "RaiseException|_CxxThrowException|shop::pay(int)", "shop::pay"},
		{"Windows abort", "abort|terminate|shop::pay(int)", "abort | terminate"},
		{"Windows handler", "shop::filter|RtlpExecuteHandlerForException|RtlDispatchException|KiUserExceptionDispatch|shop::pay(int)", "shop::pay"},
		{"Windows parameter", "_invoke_watson|_invalid_parameter|_invalid_parameter_noinfo|fclose|shop::pay(int)", "fclose"},
		{"Windows heap", "RtlReportFatalFailure|RtlReportCriticalFailure|RtlpHeapHandleError|RtlpHpHeapHandleError|RtlpLogHeapFailure|RtlFreeHeap|_free_base|shop::pay(int)", "RtlFreeHeap | _free_base | shop::pay"},
		{"macOS abort", "__pthread_kill|pthread_kill|abort|malloc_vreport|malloc_report|free|shop::pay(int)", "abort | free | shop::pay"},
		{"macOS memmove", "_platform_memmove$VARIANT$Haswell|shop::pay(int)", "shop::pay"},
		{"Objective-C", "objc_msgSend|-[Basket pay:]", "objc_msgSend | -[Basket pay:]"},
		{"Objective-C exception", "__pthread_kill|abort|std::__terminate(void (*)())|__cxa_rethrow|objc_exception_rethrow|-[Basket pay:]", "objc_exception_rethrow | -[Basket pay:]"},
		{"Swift", "_swift_runtime_on_report|swift_release|Basket.pay(with: Card) throws -> Swift.Bool", "_swift_runtime_on_report"},
	} {
		r := signature.Generate(decode(t, stack("", strings.Split(tt.stack, "|")...)), nil)
		if r.Signature != tt.want {
			t.Errorf("%s: %q, want %q\n%v", tt.name, r.Signature, tt.want, r.Steps)
		}
	}
}

// An entry that another entry of its list, or an irrelevant one, always beats is a mistake.
// TestNamelessLibraries: frames of the C library without names say nothing, those of other libraries do.
func TestNamelessLibraries(t *testing.T) {
	for _, tt := range []struct{ modules, want string }{
		{"libc.so.6 libstdc++.so.6 libshop.so", "libshop.so | shop::pay"}, {"libc-2.31.so ld-linux-x86-64.so.2 libgcc_s.so.1 libpthread-2.31.so", "shop::pay"},
		{"libcurl.so.4 libc.so.6", "libcurl.so.4 | shop::pay"},
	} {
		c := signature.Crash{Threads: []signature.Thread{{}}}
		for module := range strings.FieldsSeq(tt.modules) {
			c.Threads[0].Frames = append(c.Threads[0].Frames, signature.Frame{Module: module, ModuleOffset: "0x1", Offset: "0x1001"})
		}
		c.Threads[0].Frames = append(c.Threads[0].Frames, signature.Frame{Module: "shop", Function: "shop::pay(int)"})
		if r := signature.Generate(&c, nil); r.Signature != tt.want {
			t.Errorf("%s: %q, want %q", tt.modules, r.Signature, tt.want)
		}
	}
	c := signature.Crash{Threads: []signature.Thread{{Frames: []signature.Frame{{Module: "libc.so.6", Offset: "0x1"}}}}}
	if r := signature.Generate(&c, nil); r.Signature != "libc.so.6" {
		t.Errorf("nothing else: %q", r.Signature)
	}
}

func TestDefaultListsAreTidy(t *testing.T) {
	entries := func(name string) (all []string) {
		data, err := os.ReadFile("lists/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSuffix(line, "\n"); line != strings.TrimSpace(line) {
				t.Errorf("%s: %q ends with a space", name, line)
			}
			if line != "" && line[0] != '#' {
				all = append(all, line)
			}
		}
		return all
	}
	irrelevant, prefix := entries("irrelevant_signature_re.txt"), entries("prefix_signature_re.txt")
	literal := func(text string) (string, bool) {
		return regexp.MustCompile(strings.TrimSuffix(text, "$")).LiteralPrefix()
	}
	for i, text := range append(irrelevant, prefix...) {
		name, ok := literal(text)
		if !ok {
			continue
		}
		rivals := irrelevant
		if i >= len(irrelevant) {
			rivals = append(rivals, prefix...)
		}
		for k, rival := range rivals {
			if k != i && regexp.MustCompile(`\A(?:`+rival+`)`).MatchString(name) {
				t.Errorf("%s never acts: %s comes first", text, rival)
			}
		}
	}
}
