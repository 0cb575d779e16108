package demangle_test

import (
	"strings"
	"testing"

	"salvage/debug/demangle"
)

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"main":                             "main",
		"":                                 "",
		"_ZN4tiny4workEPVKii":              "tiny::work(int const volatile*, int)",
		"__ZN4tiny4failEi":                 "tiny::fail(int)",
		"_ZN12_GLOBAL__N_112CrashInlineEv": "_ZN12_GLOBAL__N_112CrashInlineEv", // wrong length
		"_ZN12_GLOBAL__N_111CrashInlineEv": "(anonymous namespace)::CrashInline()",
		"_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE": "core::fmt::Write::write_fmt",
		"_RNvC6_123foo3bar": "123foo::bar",
		"_ZZN12_GLOBAL__N_111CrashInlineEvENKUlRKN6shapes5PointEE_clES3_": "(anonymous namespace)::CrashInline()::'lambda'(shapes::Point const&)::operator()(shapes::Point const&) const",
		"_start":     "_start",
		"-[Foo bar]": "-[Foo bar]",
	} {
		if got := demangle.Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUndecorate(t *testing.T) {
	for _, test := range []struct {
		linkage, x86, x64 string
		params            uint32
	}{
		{"_RtlUnwind@16", "RtlUnwind", "RtlUnwind", 16},
		{"_TlsAlloc@0", "TlsAlloc", "TlsAlloc", 0},
		{"@_EH4_CallFilterFunc@8", "_EH4_CallFilterFunc", "_EH4_CallFilterFunc", 8},
		{"v@@24", "v", "v", 24},
		{"_v@@24", "_v", "_v", 24},
		{"__rtinfpopse", "_rtinfpopse", "__rtinfpopse", 0},
		{"_malloc", "malloc", "_malloc", 0},
		{"malloc", "malloc", "malloc", 0},
		{"_", "_", "_", 0},
		{"_@8", "@8", "_@8", 0},
		{"@@8", "@@8", "@@8", 0},
		{"@f", "@f", "@f", 0},
		{"f@8", "f@8", "f@8", 0},
		{"_f@", "f@", "_f@", 0},
		{"_f@x", "f@x", "_f@x", 0},
		{"_f@-1", "f@-1", "_f@-1", 0},
		{"_f@4294967295", "f", "f", 1<<32 - 1},
		{"_f@4294967296", "f@4294967296", "_f@4294967296", 0},
		{"_f@g@4", "f@g", "f@g", 4},
		{"_ns::f@4", "_ns::f@4", "_ns::f@4", 0},
		{"_f(int)@4", "_f(int)@4", "_f(int)@4", 0},
		{"_f<int>@4", "_f<int>@4", "_f<int>@4", 0},
		{"?f@@YAXXZ", "?f@@YAXXZ", "?f@@YAXXZ", 0},
		{"", "", "", 0},
	} {
		for _, x86 := range []bool{true, false} {
			want := test.x64
			if x86 {
				want = test.x86
			}
			if name, params := demangle.Undecorate(test.linkage, x86); name != want || params != test.params {
				t.Errorf("Undecorate(%q, %v) = %q, %d, want %q, %d", test.linkage, x86, name, params, want, test.params)
			}
		}
	}
}

// A name that refers to itself doubles with each step.
func TestBounds(t *testing.T) {
	bomb := "_Z1fI" + strings.Repeat("St4pairIS_S_E", 60) + "Evv"
	if got := demangle.Name(bomb); len(got) > 1<<19 {
		t.Errorf("%d bytes", len(got))
	}
	long := "_Z" + strings.Repeat("1", 1<<20)
	if demangle.Name(long) != long {
		t.Error("an overlong name was tried")
	}
}

func FuzzName(f *testing.F) {
	f.Add("_ZN4tiny4workEPVKii")
	f.Add("_RNvC6_123foo3bar")
	f.Fuzz(func(t *testing.T, s string) {
		if got := demangle.Name(s); len(got) > max(len(s), 1<<19) {
			t.Errorf("%d bytes", len(got))
		}
	})
}
