package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/internal/crash"
	"salvage/internal/errs"
	"salvage/signature"
)

type signatureOptions struct {
	explain, legacyJava bool
	lists               string
}

func (o *signatureOptions) Options(s *config.Spec) {
	config.Var(s, &o.explain, "explain", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Print each step in a sentence, in place of JSON."))
	config.Var(s, &o.legacyJava, "legacy_java", config.Bool, config.FlagOnly(), config.Default("false"),
		config.Doc("As siggen with its known defects, its old form for Java among them, to compare with signatures that it made."))
	config.Var(s, &o.lists, "signature_list_dir", config.String, config.FlagOnly(), config.Default(""), config.Doc("Folder with siggen's four lists to go by, in place of Salvage's own."))
}

func (p *program) signatureCommand() *cobra.Command {
	o := new(signatureOptions)
	return command(&cobra.Command{
		Use: "signature", Short: "Say what a crash is called, and why", Args: cobra.NoArgs,
		Long: "Say what a crash is called, and why.\n\n" +
			"Reads crash data as siggen takes them, or a processed crash, from standard input. Prints JSON with signature,\n" +
			"proto_signature, notes and steps.",
	}, o, func(_ context.Context, _ []string) error { return p.signature(o) })
}

// maxCrashData is the largest input; processed crashes with thousands of threads stay below it.
const maxCrashData = 256 << 20

func (p *program) signature(o *signatureOptions) error {
	lists := signature.Default()
	if o.lists != "" {
		var err error
		if lists, err = signature.Parse(os.DirFS(o.lists)); err != nil {
			return fmt.Errorf("%w: %w", errs.Public(errs.Invalid, "The lists in %s cannot be used: %v.", o.lists, err), err)
		}
	}
	if o.legacyJava {
		lists = lists.Defects()
	}
	data, err := io.ReadAll(io.LimitReader(p.in, maxCrashData+1))
	if err != nil {
		return err
	}
	if len(data) > maxCrashData {
		return errs.Public(errs.TooLarge, "The input has more than %d MiB.", maxCrashData>>20)
	}
	var c signature.Crash
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("%w: %w", errs.Public(errs.Invalid, "Standard input has no crash data: %v.", err), err)
	}
	if c.JavaException == nil && c.JavaStackTrace != "" && !o.legacyJava {
		if c.JavaException, err = javaOfText(c.JavaStackTrace); err != nil {
			return err
		}
	}
	r := signature.Generate(&c, lists)
	if !o.explain {
		e := json.NewEncoder(p.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, step := range r.Steps {
		fmt.Fprintln(p.out, step)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(p.out, note)
	}
	_, err = fmt.Fprintln(p.out, r.Signature)
	return err
}

// javaOfText makes the structure of a text, as the processor does; nil if it is no stack trace.
func javaOfText(text string) (*signature.JavaException, error) {
	e, err := crash.ParseJavaStackTrace(text)
	if err != nil {
		return nil, nil
	}
	data, err := json.Marshal(e.Public())
	if err != nil {
		return nil, err
	}
	j := new(signature.JavaException)
	return j, json.Unmarshal(data, j)
}
