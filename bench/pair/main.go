// Command pair runs commands in turn and compares them: pair [-n ROUNDS] NAME=COMMAND…
//
// Every round runs each command once, starting with another one, so that a machine that slows down slows all of
// them. Commands are given to sh. It prints the median, least and most of wall seconds, processor seconds and
// peak memory of each command, as the kernel accounts for it, of the figures that a command prints as
// key=number, and the median over the rounds of each figure divided by that of the first command.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type command struct {
	name, text string
	figures    map[string][]float64 // by name, one for each counted round
}

func main() {
	n := flag.Int("n", 5, "counted rounds; one that is not counted comes first")
	only := flag.String("only", "", "figures to print, separated by commas; all by default")
	flag.Parse()
	var commands []*command
	for _, arg := range flag.Args() {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			fail(fmt.Errorf("%q is not NAME=COMMAND", arg))
		}
		commands = append(commands, &command{name, text, map[string][]float64{}})
	}
	for round := range *n + 1 {
		for i := range commands {
			c := commands[(i+round)%len(commands)]
			if err := c.run(round > 0); err != nil {
				fail(fmt.Errorf("%s: %w", c.name, err))
			}
		}
	}
	first := commands[0]
	figures := slices.Sorted(maps.Keys(first.figures))
	if *only != "" {
		figures = strings.Split(*only, ",")
	}
	for _, figure := range figures {
		fmt.Println(figure)
		for _, c := range commands {
			v := c.figures[figure]
			if len(v) != *n {
				continue
			}
			var ratios []float64
			for i := range v {
				ratios = append(ratios, v[i]/first.figures[figure][i])
			}
			least, mid, most := spread(v)
			low, ratio, high := spread(ratios)
			fmt.Printf("  %-14s %12.4g  (%.4g to %.4g)  %8.3gx  (%.3g to %.3g)\n", c.name, mid, least, most, ratio, low, high)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "pair:", err)
	os.Exit(1)
}

func (c *command) run(count bool) error {
	cmd := exec.Command("sh", "-c", "exec "+c.text)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	wall := time.Since(start)
	if !count {
		return nil
	}
	add := func(figure string, v float64) { c.figures[figure] = append(c.figures[figure], v) }
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	add("wall s", wall.Seconds())
	add("cpu s", cpu.Seconds())
	add("cores", cpu.Seconds()/wall.Seconds())
	add("peak MB", float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)*1024/1e6)
	for _, word := range strings.Fields(out.String()) {
		if key, value, ok := strings.Cut(word, "="); ok {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				add(key, v)
			}
		}
	}
	return nil
}

func spread(v []float64) (least, median, most float64) {
	v = slices.Sorted(slices.Values(v))
	return v[0], v[len(v)/2], v[len(v)-1]
}
