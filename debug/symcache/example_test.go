package symcache_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"salvage/debug/breakpad"
	"salvage/debug/debugid"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
)

// A newcomer's first steps: the bytes of a .sym, from wherever they come; is it the file that was asked
// for; what is at an address of the module.
func Example() {
	sym := []byte(`MODULE Linux x86_64 C0BCC3F19827FE653058404B2831D9E60 crash
FILE 0 main.cpp
FILE 1 widget.h
INLINE_ORIGIN 0 Widget::draw() const
FUNC 1c70 14c 0 main
INLINE 0 37 0 0 1c80 8
1c70 10 32 0
1c80 8 12 1
1c88 134 38 0
`)
	wanted, err := debugid.Parse("c0bcc3f1-9827-fe65-3058-404b2831d9e6") // any spelling
	if err != nil {
		log.Fatal(err)
	}

	var file bytes.Buffer
	var module symbols.Module
	_, err = symcache.Build(context.Background(), &file, &module, func(emit func(*symbols.Batch) error) error {
		f, err := breakpad.Parse(sym, breakpad.Handler{Batch: emit}, breakpad.Options{})
		if err != nil {
			return err
		}
		module = f.Module
		return nil
	}, symcache.Options{})
	if err != nil {
		log.Fatal(err)
	}

	cache, err := symcache.Parse(file.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("right file:", cache.Module().ID == wanted)
	for _, f := range cache.Lookup(0x1c84, nil) {
		fmt.Printf("%s at %s:%d\n", cache.Name(f), cache.File(f), f.Line)
	}
	// Output:
	// right file: true
	// Widget::draw() const at widget.h:12
	// main at main.cpp:37
}
