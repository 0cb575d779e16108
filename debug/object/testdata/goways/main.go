// Command goways says what Go's runtime knows of code addresses in it: one in hexadecimal a line on standard
// input, the first being that of main.main in the file, the frames on standard output, innermost first and with an empty line behind.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"runtime"
)

type shape struct{ sides []int }

func (s *shape) sum() (n int) {
	for _, v := range s.sides {
		n += weigh(v)
	}
	return n
}

func weigh(v int) int { return clamp(v)*3 + 1 }

func main() {
	s := &shape{[]int{len(os.Args), 2, 3}}
	defer func() { _ = s.sum() }()
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	bias := uintptr(1) // none yet: addresses are even or have no code before them
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var pc uintptr
		if _, err := fmt.Sscanf(in.Text(), "%x", &pc); err != nil {
			fmt.Fprintln(os.Stderr, err, clamp(int(pc)))
			os.Exit(1)
		}
		if bias == 1 {
			bias = reflect.ValueOf(main).Pointer() - pc
		}
		frames := runtime.CallersFrames([]uintptr{bias + pc + 1}) // it means what is before
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			fmt.Fprintf(w, "%s %s:%d\n", f.Function, f.File, f.Line)
		}
		fmt.Fprintln(w)
	}
}
