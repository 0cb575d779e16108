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
