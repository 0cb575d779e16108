package signature_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"salvage/internal/debugtest"
	"salvage/signature"
)

// TestSiggen compares with what siggen made of the same crashes with the same lists; testdata/oracle.py
// recorded it. SALVAGE_SIGGEN_FILE names a longer recording.
func TestSiggen(t *testing.T) {
	lists, err := signature.Parse(os.DirFS(debugtest.Path(t, "siglists")))
	if err != nil {
		t.Fatal(err)
	}
	path := "testdata/siggen.jsonl.gz"
	if long := os.Getenv("SALVAGE_SIGGEN_FILE"); long != "" {
		path = long
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	n, fixed, raised := 0, 0, 0
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		n++
		var c signature.Crash
		var want, proto string
		if err := json.Unmarshal(lines.Bytes(), &[]any{&c, &want, &proto}); err != nil {
			t.Fatal(err)
		}
		got := signature.Generate(&c, lists.Defects())
		if proto == "" && got.Proto != "" {
			raised++ // siggen has no word for a name that is "const", and then none for the crash
			continue
		}
		if got.Signature != want && want != "" || got.Proto != proto {
			t.Errorf("%.1500s\n got %q\nwant %q\n got %.600q\nwant %.600q", lines.Text(), got.Signature, want, got.Proto, proto)
		}
		if want == "" && got.Signature == "" {
			t.Errorf("empty: %s", lines.Text())
		}
		// Without the defects: -> closes no bracket, JSON that is no object loses nothing.
		if got := signature.Generate(&c, lists); got.Signature != want {
			fixed++
			if !strings.Contains(lines.Text(), "->") && c.AsyncShutdownTimeout == "" && want != "" && !strings.Contains(want, ":None") {
				t.Errorf("%.1500s\n got %q\nwant %q", lines.Text(), got.Signature, want)
			}
		}
	}
	if err := lines.Err(); err != nil || n < 2000 || fixed == 0 || raised > n/200 {
		t.Errorf("%d crashes, %d without the defects, %v", n, fixed, err)
	}
	t.Logf("%d crashes, %d with another signature where the defects are mended, %d that siggen failed for", n, fixed, raised)
}

// TestSiggenForms are what the recorded crashes hardly have, computed with siggen by hand.
func TestSiggenForms(t *testing.T) {
	for data, want := range map[string]string{
		`{"threads":[{"frames":[{"module":"XUL"},{"module":"XUL"},{"function":"f"}]}]}`:                                                   "XUL | f",
		`{"threads":[{"frames":[{"unloaded_modules":[{"module":"u.dll"}]},{"unloaded_modules":[{"module":"u.dll"}]},{"function":"f"}]}]}`: "(unloaded u.dll) | (unloaded u.dll) | f",
		`{"threads":[{"frames":[{"module":"a.dll"},{"module":"a.dll"},{"function":"f"}]}]}`:                                               "a.dll | f",
		`{"threads":[{"frames":[{"module":" a\tb\u0001c\n"}]}]}`:                                                                          "abc",
		`{"threads":[{"frames":[{"module":"[vdso]"}]}]}`:                                                                                  "vdso",
		`{"oom_allocation_size":262144,"threads":[{"frames":[{"function":"f"}]}]}`:                                                        "OOM | small",
		`{"ipc_channel_error":"` + strings.Repeat("y", 120) + `"}`:                                                                        "IPCError-content | " + strings.Repeat("y", 100),
		`{"threads":[{"frames":[{"module":"a","module_offset":"0x1"}]}]}`:                                                                 "a",
		`{"threads":[{"frames":[{"function":"f(int) const [clone .cold]"}]}]}`:                                                            "const",
	} {
		if got := signature.Generate(decode(t, data), small).Signature; got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
}
