package signature

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"
)

// Lists say which frames tell something about a crash (crash-pipeline.md §3.4). They are immutable and
// safe for concurrent use.
type Lists struct {
	irrelevant  patterns
	prefix      patterns
	lineNumbers patterns
	sentinels   map[string]bool

	javaIrrelevant patterns
	javaPrefix     patterns

	own     bool // Salvage's own, for names and rules of Salvage's own
	defects bool // see Defects
}

// The files of a folder of lists have the names that siggen gives them, so that its folders fit too.
const (
	irrelevantFile  = "irrelevant_signature_re.txt"
	prefixFile      = "prefix_signature_re.txt"
	lineNumbersFile = "signatures_with_line_numbers_re.txt"
	sentinelsFile   = "signature_sentinels.txt"

	// Siggen has none for Java.
	javaIrrelevantFile = "java_irrelevant_re.txt"
	javaPrefixFile     = "java_prefix_re.txt"
)

//go:embed lists/*.txt
var embedded embed.FS

// Default returns Salvage's own lists.
var Default = sync.OnceValue(func() *Lists {
	folder, err := fs.Sub(embedded, "lists")
	if err != nil {
		panic(err)
	}
	l, err := Parse(folder)
	if err != nil {
		panic(err)
	}
	l.own = true
	return l
})

// Defects returns the lists for signatures with siggen's known defects (crash-pipeline.md §9) and its old
// form for Java (§3.5, §3.6), to compare with what siggen made.
func (l *Lists) Defects() *Lists {
	clone := *l
	clone.own, clone.defects = false, true
	return &clone
}

// Parse reads the lists of a folder. In each, an entry is a line; empty lines and those that start
// with # do not count. Sentinels are normalised frames, the others regular expressions that match a
// normalised frame from its first character, not necessarily to its last. Of the two lists for Java, whose
// frames are matched without their file, those of Salvage stand in for one that is missing.
//
// Signatures by them are those of siggen, whose lists may be loaded unchanged.
//
// The error names the file and line of everything that is wrong: an expression that does not compile, or
// that matches the empty text and so every frame.
func Parse(fsys fs.FS) (*Lists, error) {
	var problems []error
	read := func(name string, entry func(text string) error) {
		data, err := fs.ReadFile(fsys, name)
		if (name == javaIrrelevantFile || name == javaPrefixFile) && errors.Is(err, fs.ErrNotExist) {
			data, err = embedded.ReadFile("lists/" + name)
		}
		if err != nil {
			problems = append(problems, err)
		}
		line := 0
		for text := range strings.Lines(string(data)) {
			line++
			if text = strings.TrimSpace(text); text == "" || text[0] == '#' {
				continue
			}
			if err := entry(text); err != nil {
				problems = append(problems, fmt.Errorf("%s:%d: %w", name, line, err))
			}
		}
	}
	l := &Lists{sentinels: map[string]bool{}}
	read(irrelevantFile, l.irrelevant.add)
	read(prefixFile, l.prefix.add)
	read(lineNumbersFile, l.lineNumbers.add)
	read(javaIrrelevantFile, l.javaIrrelevant.add)
	read(javaPrefixFile, l.javaPrefix.add)
	read(sentinelsFile, func(text string) error {
		l.sentinels[text] = true
		return nil
	})
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return l, nil
}

// patterns are tried one by one: which one matched is part of the explanation, and most are literal.
type patterns []pattern

// pattern is an expression as written, compiled unless it is literal text.
type pattern struct {
	text, literal string
	re            *regexp.Regexp
}

func (p *patterns) add(text string) error {
	re, err := regexp.Compile(text)
	if err != nil {
		return err // which quotes it as it is written
	}
	literal, complete := re.LiteralPrefix()
	if complete {
		re = nil
	} else if re, err = regexp.Compile(`\A(?:` + text + `)`); err != nil {
		return err
	} else if re.MatchString("") {
		return fmt.Errorf("%q matches every frame", text)
	}
	*p = append(*p, pattern{text, literal, re})
	return nil
}

// match returns the first pattern that matches name, as it is written in its file.
func (p patterns) match(name string) (string, bool) {
	for i := range p {
		if re := p[i].re; re != nil && re.MatchString(name) || re == nil && strings.HasPrefix(name, p[i].literal) {
			return p[i].text, true
		}
	}
	return "", false
}
