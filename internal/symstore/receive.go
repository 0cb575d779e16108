package symstore

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"salvage/internal/errs"
)

// scratch is a temporary file.
type scratch struct {
	*os.File
	size   int64
	sha256 string // hexadecimal
}

func (f *scratch) remove() {
	f.Close()
	os.Remove(f.Name())
}

// copy makes a temporary file of what r has.
func (s *Store) copy(r io.Reader) (f *scratch, err error) {
	file, err := os.CreateTemp(s.Scratch, scratchPattern)
	if err != nil {
		return nil, unavailable(err)
	}
	f = &scratch{File: file}
	sum := sha256.New()
	if f.size, err = io.CopyBuffer(io.MultiWriter(file, sum), struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		f.remove()
		return nil, unavailable(err)
	}
	f.sha256 = hex.EncodeToString(sum.Sum(nil))
	return f, nil
}

// unavailable gives failures of the disk, which is full mostly, their kind.
func unavailable(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%w: %w", errs.Unavailable, err)
	}
	return err
}

// ratioFrom is the size from which on the ratio of inflating counts: small files have any.
const ratioFrom = 1 << 20

// receive makes a temporary file of an upload, inflated. Both what is read and what comes of it may be left
// bytes at most; the greater of them is taken off left, whatever the error.
func (s *Store) receive(r io.Reader, left *int64) (f *scratch, err error) {
	raw := &meter{r: r, limit: *left}
	in := bufio.NewReaderSize(raw, 64<<10)
	out := &meter{r: in, limit: *left}
	defer func() { *left -= max(raw.n, out.n) }()
	// By its start, not by its header: no symbol file begins so.
	if start, _ := in.Peek(2); string(start) == "\x1f\x8b" {
		out.r, out.raw, out.ratio = &gunzip{in: in}, raw, s.Options.maxInflation
	}
	f, err = s.copy(out)
	switch {
	case raw.err != nil: // however gzip words it
		return nil, raw.err
	case err != nil:
		return nil, err
	case f.size == 0:
		f.remove()
		return nil, errs.Public(errs.Invalid, "The file is empty.")
	}
	return f, nil
}

// meter counts what is read through it, up to limits.
type meter struct {
	r        io.Reader
	n, limit int64
	raw      *meter // of what r inflates; nil: it does not
	ratio    int64
	err      error // of the last Read, unless it was the end
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.n += int64(n)
	switch {
	case m.n > m.limit:
		n, err = 0, errs.Public(errs.TooLarge, "The file is larger than the limit of %d bytes.", m.limit)
	case m.raw != nil && m.n > ratioFrom && m.n/m.ratio > m.raw.n:
		n, err = 0, errs.Public(errs.TooLarge, "The file becomes more than %d times larger by inflating.", m.ratio)
	}
	if err != io.EOF {
		m.err = err
	}
	return n, err
}

// gunzip is gzip.Reader whose errors have a kind.
type gunzip struct {
	in *bufio.Reader
	z  *gzip.Reader
}

func (g *gunzip) Read(b []byte) (n int, err error) {
	if g.z == nil {
		g.z, err = gzip.NewReader(g.in)
	}
	if err == nil {
		n, err = g.z.Read(b)
	}
	if err != nil && err != io.EOF {
		err = errs.Public(errs.Corrupt, "The file is compressed, but damaged or cut off.")
	}
	return n, err
}
