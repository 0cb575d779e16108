package minidump_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"salvage/debug"
	"salvage/debug/minidump"
)

// wrappings are what a dump may be wrapped in.
var wrappings = map[string]func(data []byte) []byte{
	"gzip": func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(data)
		_ = w.Close()
		return b.Bytes()
	},
	"zstd": func(data []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			panic(err)
		}
		return w.EncodeAll(data, nil)
	},
	"xz": func(data []byte) []byte {
		var b bytes.Buffer
		w, err := xz.NewWriter(&b)
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(data)
		_ = w.Close()
		return b.Bytes()
	},
	"multipart": func(data []byte) []byte {
		return posted(data, "upload_file_minidump")
	},
	"multipart with another name": func(data []byte) []byte {
		return posted(data, "dump")
	},
}

// posted is the body of a submission.
func posted(dump []byte, field string) []byte {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("prod", "App")
	_ = w.WriteField("comment", "line\n\nMDMP\r\n--")
	p, _ := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="x.dmp"`, field)}, "Content-Type": {"application/octet-stream"}})
	_, _ = p.Write(dump)
	_ = w.WriteField("ver", "1")
	_ = w.Close()
	return b.Bytes()
}

func TestOpen(t *testing.T) {
	// Content that a careless search would end.
	dump := everything(false).Raw(77, []byte("\r\n--\r\n\r\n-- name=\"upload_file_minidump\"\r\n\r\n")).Bytes()
	opened := func(name string, data []byte) {
		d, err := minidump.Open(data)
		if err != nil || len(d.Threads) != 2 || len(d.Problems) > 0 || string(d.Stream(77)[:4]) != "\r\n--" {
			t.Errorf("%s: Open = %+v, %v", name, d, err)
		}
	}
	opened("as it is", dump)
	for a, wrapA := range wrappings {
		once := wrapA(dump)
		opened(a, once)
		for b, wrapB := range wrappings {
			if strings.HasPrefix(a, "multipart") && b == "multipart with another name" {
				continue // a part that begins with "--" is not taken for a dump
			}
			twice := wrapB(once)
			opened(a+" in "+b, twice)
			opened(a+" in "+b+" in gzip in multipart", wrappings["multipart"](wrappings["gzip"](twice)))
		}
	}
	opened("big-endian", wrappings["multipart with another name"](everything(true).Raw(77, []byte("\r\n--")).Bytes()))
}

func TestOpenBad(t *testing.T) {
	dump := everything(false).Bytes()
	deep := dump
	for range 5 {
		deep = wrappings["gzip"](deep)
	}
	corrupt := wrappings["gzip"](dump)
	corrupt[len(corrupt)-5] ^= 1
	boundary := strings.Repeat("b", 71)
	for _, tt := range []struct {
		name  string
		data  []byte
		cause error
	}{
		{"nothing", nil, debug.ErrTruncated},
		{"text", []byte("hello, this is no dump at all, by far"), nil},
		{"too deep", deep, nil},
		{"an empty gzip", wrappings["gzip"](nil), debug.ErrTruncated},
		{"a gzip of text", wrappings["gzip"]([]byte("hello, this is no dump at all, by far")), nil},
		{"a gzip header", []byte("\x1f\x8b\x08"), debug.ErrTruncated},
		{"a multipart body without a dump", posted([]byte("x"), "file"), nil},
		{"a boundary alone", []byte("--"), nil},
		{"a boundary and nothing", []byte("--x\r\n"), nil},
		{"a boundary that is too long", append([]byte("--"+boundary+"\r\n\r\n"), dump...), nil},
		{"headers without end", append([]byte("--x\r\nname=\"upload_file_minidump\"\r\n"), append(bytes.Repeat([]byte("a: b\r\n"), 4000), append([]byte("\r\n"), dump...)...)...), nil},
	} {
		d, err := minidump.Open(tt.data)
		var fe *debug.FormatError
		if d != nil || !errors.As(err, &fe) || tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("%s: Open = %v, %v", tt.name, d, err)
		}
	}
	// Something is left of these.
	noise := make([]byte, 200000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	large := everything(false).Memory(0x10000, noise).Bytes()
	for name, cut := range map[string][2]string{"gzip": {"gzip", "truncated"}, "xz": {"xz", "truncated"}, "multipart": {"multipart", "truncated"}} {
		data := wrappings[name](large)
		d, err := minidump.Open(data[:len(data)*9/10])
		if err != nil || len(d.Threads) != 2 || d.Problems[0].Where != cut[0] || d.Problems[0].Kind != cut[1] {
			t.Errorf("%s, cut: %+v, %v", name, d, err)
		}
	}
	d, err := minidump.Open(corrupt)
	if err != nil || len(d.Threads) != 2 || len(d.Problems) != 1 || d.Problems[0].Kind != "bad record" {
		t.Errorf("a bad checksum: %+v, %v", d, err)
	}
	if _, err := (minidump.Limits{Inflated: uint64(len(dump) - 1)}).Open(wrappings["gzip"](dump)); !errors.Is(err, debug.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := (minidump.Limits{Inflated: uint64(len(dump))}).Open(wrappings["gzip"](dump)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	// The name counts, wherever it is; else the first that looks like a dump.
	two := bytes.Replace(posted(dump, "dump"), []byte("line\n\nMDMP\r\n--"), []byte("MDMP"), 1)
	if _, err := minidump.Open(two); err == nil {
		t.Error("the first part that looks like a dump is none, and is not taken")
	}
	two = bytes.Replace(posted(dump, "upload_file_minidump"), []byte("line\n\nMDMP\r\n--"), []byte("MDMP"), 1)
	if d, err := minidump.Open(two); err != nil || len(d.Threads) != 2 {
		t.Errorf("the part of the usual name is not taken: %v", err)
	}
}
