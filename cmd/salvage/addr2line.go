package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/debug/demangle"
	"salvage/debug/object"
	"salvage/debug/symcache"
	"salvage/internal/errs"
)

type addr2lineOptions struct {
	exe                                                    string
	addresses, functions, inlines, demangle, pretty, bases bool
	style, arch                                            string
}

func (o *addr2lineOptions) Options(s *config.Spec) {
	flag := func(dst *bool, name, short, doc string) {
		config.Var(s, dst, name, config.Bool, config.Short(short), config.FlagOnly(), config.Default("false"), config.Doc(doc))
	}
	config.Var(s, &o.exe, "exe", config.String, config.Short("e"), config.FlagOnly(), config.Example("a.out"),
		config.Doc("Debug file, dSYM bundle, .sym or lookup file to read."))
	archOption(s, &o.arch)
	flag(&o.addresses, "addresses", "a", "Print the address before its answer.")
	flag(&o.functions, "functions", "f", "Print function names.")
	flag(&o.inlines, "inlines", "i", "Print the calls inlined at an address as well, innermost first.")
	flag(&o.demangle, "demangle", "C", "Print readable names in place of linkage names.")
	flag(&o.pretty, "pretty_print", "p", "Print one line for each frame.")
	flag(&o.bases, "basenames", "s", "Print file names without their folders.")
	config.Var(s, &o.style, "output_style", config.Choice(config.String, "GNU", "LLVM", "JSON"), config.FlagOnly(), config.Default("GNU"),
		config.Doc("Form of the answers."))
}

func (p *program) addr2lineCommand() *cobra.Command {
	o := new(addr2lineOptions)
	return command(&cobra.Command{
		Use: "addr2line -e FILE [ADDR...]", Short: "Turn addresses into functions, files and lines",
		Long: "Turn addresses into functions, files and lines, with the flags and the text of llvm-addr2line.\n\n" +
			"ADDR is hexadecimal, with or without 0x: a file address, relative to the start of the module for .sym files.\n" +
			"Without any, addresses are read from standard input, one a line. Columns and discriminators are not known.",
	}, o, func(ctx context.Context, args []string) error { return p.addr2line(ctx, args, o) })
}

// symbolTable is a file that answers addresses, of whatever format.
type symbolTable struct {
	*symcache.Cache
	closer io.Closer
}

func (t *symbolTable) Close() error { return t.closer.Close() }

// openSymbols opens a lookup file, or makes one in memory from any debug file. It may know no more than the
// addresses, if there are any.
func (p *program) openSymbols(ctx context.Context, path, arch string, questions []string) (t *symbolTable, err error) {
	path, err = insideBundle(path)
	if err != nil {
		return nil, err
	}
	m, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if symcache.Probe(m.Data) {
		c, err := symcache.Parse(m.Data)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Close())
		}
		return &symbolTable{c, m}, nil
	}
	f, open, err := openMapped(m, path, arch)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	defer errs.Wrap(&err, "%s", path)
	var asked pages
	var exact []uint64
	for _, text := range questions {
		if addr, err := parseAddress(text); err == nil {
			addr -= min(addr, f.Module.ImageBase)
			asked.add(addr)
			exact = append(exact, addr)
		}
	}
	if asked.sort(); asked != nil {
		f.Wanted = newAddresses(exact).overlap
	}
	var report object.Report
	c, err := f.names(ctx, asked, nil, &report)
	if err != nil {
		return nil, err
	}
	p.warn(path, &report)
	return &symbolTable{c, io.NopCloser(nil)}, nil
}

func (p *program) addr2line(ctx context.Context, args []string, o *addr2lineOptions) (err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(frugal))
	asked, in, err := p.questions(args)
	if err != nil {
		return err
	}
	t, err := p.openSymbols(ctx, o.exe, o.arch, asked)
	if err != nil {
		return err
	}
	defer t.Close()
	w := bufio.NewWriterSize(p.out, 64<<10)
	defer func() { err = errors.Join(err, w.Flush()) }()
	a := answerer{o: o, t: t, w: w, names: map[uint32][]byte{}}
	if len(args) > 0 {
		if o.style == "JSON" {
			w.WriteByte('[')
		}
		for i, text := range args {
			if i > 0 && o.style == "JSON" {
				w.WriteByte(',')
			}
			if err := a.answer(text); err != nil {
				return err
			}
		}
		if o.style == "JSON" {
			w.WriteString("]\n")
		}
		return nil
	}
	lines := bufio.NewScanner(asking{in, w})
	for lines.Scan() {
		if err := a.answer(strings.TrimSpace(lines.Text())); err != nil {
			return err
		}
		if o.style == "JSON" {
			w.WriteByte('\n')
		}
	}
	return lines.Err()
}

// maxQuestions bounds what is read of a file of questions before the first is answered.
const maxQuestions = 64 << 20

// questions returns what will be asked, nil if that is not known yet, and where to read it if it is not in args.
// What a file asks is known; whoever writes to a pipe may wait for answers.
func (p *program) questions(args []string) (all []string, in io.Reader, err error) {
	f, ok := p.in.(*os.File)
	if len(args) > 0 || !ok {
		return args, p.in, nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxQuestions {
		return nil, f, nil
	}
	text, err := io.ReadAll(f)
	return strings.Fields(string(text)), bytes.NewReader(text), err
}

// asking reads questions. Whoever asks them, a person or a program that asks one at a time, waits for the
// answers before there are more.
type asking struct {
	in io.Reader
	w  *bufio.Writer
}

func (a asking) Read(b []byte) (int, error) {
	if err := a.w.Flush(); err != nil {
		return 0, err
	}
	return a.in.Read(b)
}

// answerer prints answers in the style asked for.
type answerer struct {
	o     *addr2lineOptions
	t     *symbolTable
	w     *bufio.Writer
	buf   []symcache.Frame
	names map[uint32][]byte // readable names already made, by function
}

// llvmFrame is a frame in the JSON style.
type llvmFrame struct {
	Column, Discriminator       int
	FileName, FunctionName      string
	Line                        uint32
	StartAddress, StartFileName string
	StartLine                   int
}

func (a *answerer) answer(text string) error {
	addr, err := parseAddress(text)
	if err != nil {
		if a.o.style == "JSON" {
			return a.json(map[string]any{"Error": map[string]string{"Message": "unable to parse arguments: " + text}, "ModuleName": a.o.exe})
		}
		_, err := fmt.Fprintln(a.w, text)
		return err
	}
	a.buf = a.buf[:0]
	if base := a.t.Module().ImageBase; addr >= base {
		a.buf = a.t.Lookup(addr-base, a.buf)
	}
	frames := a.buf
	if !a.o.inlines && a.o.style != "JSON" {
		frames = frames[:min(1, len(frames))]
	}
	if a.o.style == "JSON" {
		symbol := make([]llvmFrame, 0, max(1, len(frames)))
		for _, f := range frames {
			j := llvmFrame{FileName: string(a.file(f)), FunctionName: string(a.name(f)), Line: f.Line}
			if fn := a.t.Function(f); fn.HasAddr {
				j.StartAddress = fmt.Sprintf("%#x", fn.Addr+a.t.Module().ImageBase)
			}
			symbol = append(symbol, j)
		}
		if len(symbol) == 0 {
			symbol = append(symbol, llvmFrame{})
		}
		return a.json(map[string]any{"Address": fmt.Sprintf("%#x", addr), "ModuleName": a.o.exe, "Symbol": symbol})
	}
	if a.o.addresses {
		sep := "\n"
		if a.o.pretty {
			sep = ": "
		}
		fmt.Fprintf(a.w, "%#x%s", addr, sep)
	}
	if len(frames) == 0 {
		a.print(unknown, unknown, 0, false)
	}
	for i, f := range frames {
		name, file := a.name(f), a.file(f)
		if len(name) == 0 {
			name = unknown
		}
		// Without -f the symbol table is not asked, which says no more than a file.
		if len(file) == 0 || !a.o.functions && a.t.Function(f).Public {
			file = unknown
		}
		a.print(name, file, f.Line, i > 0)
	}
	if a.o.style == "LLVM" {
		a.w.WriteByte('\n')
	}
	return nil
}

var unknown = []byte("??")

func (a *answerer) print(name, file []byte, line uint32, inlinedBy bool) {
	if inlinedBy && a.o.pretty {
		a.w.WriteString(" (inlined by) ")
	}
	if a.o.functions {
		a.w.Write(name)
		if a.o.pretty {
			a.w.WriteString(" at ")
		} else {
			a.w.WriteByte('\n')
		}
	}
	a.w.Write(file)
	a.w.WriteByte(':')
	var digits [10]byte
	a.w.Write(strconv.AppendUint(digits[:0], uint64(line), 10))
	if a.o.style == "LLVM" {
		a.w.WriteString(":0")
	}
	a.w.WriteByte('\n')
}

func (a *answerer) name(f symcache.Frame) []byte {
	if !a.o.demangle {
		return a.t.Name(f)
	}
	id, _ := f.IDs()
	readable, ok := a.names[id]
	if !ok {
		readable = []byte(demangle.Name(string(a.t.Name(f))))
		a.names[id] = readable
	}
	return readable
}

func (a *answerer) file(f symcache.Frame) []byte {
	file := a.t.File(f)
	if a.o.bases && len(file) > 0 {
		return []byte(path.Base(strings.ReplaceAll(string(file), `\`, "/")))
	}
	return file
}

func (a *answerer) json(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = a.w.Write(b)
	}
	return err
}
