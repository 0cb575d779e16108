package breakpad_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"salvage/debug/breakpad"
)

// random writes a file with everything in it that one record can mean for another, and some bad lines.
func random(rng *rand.Rand, records int) string {
	var b strings.Builder
	b.WriteString(header)
	addr := 0x1000
	for range records {
		n := rng.IntN(12)
		switch n {
		case 0:
			fmt.Fprintf(&b, "FILE %d f%d.c\n", rng.IntN(6), rng.IntN(100))
		case 1:
			fmt.Fprintf(&b, "INLINE_ORIGIN %d o%d\n", rng.IntN(6), rng.IntN(100))
		case 2:
			fmt.Fprintf(&b, "INLINE_ORIGIN %d %d old%d\n", rng.IntN(6), rng.IntN(8)-1, rng.IntN(100))
		case 3, 4:
			addr += 0x100
			fmt.Fprintf(&b, "FUNC %x %x 0 f%d\n", addr, rng.IntN(0x120), rng.IntN(50))
		case 5:
			fmt.Fprintf(&b, "INLINE %d %d %d %d %x 8 %x 4\n", rng.IntN(3), rng.IntN(50), rng.IntN(7)-1, rng.IntN(7), addr+rng.IntN(64), addr+64)
		case 6:
			fmt.Fprintf(&b, "INLINE %d %d %d %x 8 %x 4\n", rng.IntN(3), rng.IntN(50), rng.IntN(7), addr+rng.IntN(64), addr+64)
		case 7:
			fmt.Fprintf(&b, "PUBLIC %x 0 p%d\n", addr+0x80, rng.IntN(50))
		case 8:
			fmt.Fprintf(&b, "STACK CFI INIT %x %x .cfa: $rsp 8 +\n", addr, rng.IntN(0x80))
		case 9:
			fmt.Fprintf(&b, "STACK CFI %x .cfa: $rsp %d +\n", addr+8, rng.IntN(64))
		case 10:
			b.WriteString([]string{"bad", "INFO GENERATOR g" + fmt.Sprint(addr), "STACK WIN 0 10 1 0 0 0 0 0 0 0 1", "", "FUNC x", "INFO CODE_ID ABCD x"}[rng.IntN(6)] + "\n")
		default:
			fmt.Fprintf(&b, "%x 8 %d %d\n", addr+rng.IntN(64), rng.IntN(50), rng.IntN(7))
		}
	}
	return b.String()
}

// What comes out does not depend on where a file is cut.
func TestParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		text := random(rng, 60)
		want, f, err := dump(t, inParts(text, breakpad.Options{}, len(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 30, 200, 700} {
			got, g, err := dump(t, inParts(text, breakpad.Options{}, size))
			if err != nil || got != want || !reflect.DeepEqual(f, g) {
				t.Fatalf("round %d in parts of %d: %v\n%+v\n%+v\n%s\nwant\n%s\nof\n%s", round, size, err, g, f, got, want, text)
			}
		}
	}
}

// Of what is wanted everything comes, of what is not no more than where functions are; Done gets the file.
func TestWanted(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		text := random(rng, 80)
		whole, f, err := dump(t, inParts(text, breakpad.Options{}, 100))
		if err != nil {
			t.Fatal(err)
		}
		wanted := func(addr, _ uint64) bool { return addr>>8%3 == uint64(round%3) }
		var want strings.Builder
		keep := true
		for line := range strings.Lines(whole) {
			var addr, size uint64
			switch {
			case strings.HasPrefix(line, "FUNC"):
				fmt.Sscanf(line, "FUNC %x %x", &addr, &size)
				if keep = wanted(addr, size); !keep {
					line = fmt.Sprintf("FUNC %x %x \n", addr, size)
					want.WriteString(line)
				}
			case strings.HasPrefix(line, "CFI true"):
				fmt.Sscanf(line, "CFI true %x", &addr)
				keep = wanted(addr, 0)
			case strings.HasPrefix(line, "PUBLIC"), strings.HasPrefix(line, "WIN"):
				keep = true
			}
			if keep {
				want.WriteString(line)
			}
		}
		done := 0
		got, g, err := dump(t, inParts(text, breakpad.Options{Wanted: wanted, Done: func(b []byte) {
			if !strings.HasPrefix(text[done:], string(b)) {
				t.Errorf("Done(%q) at %d", b, done)
			}
			done += len(b)
		}}, 100))
		if err != nil || got != want.String() || done != len(text) || g.Counts.Lines != f.Counts.Lines {
			t.Fatalf("round %d: %v, done %d of %d\n%s\nwant\n%s\nof\n%s", round, err, done, len(text), got, want.String(), text)
		}
	}
}
