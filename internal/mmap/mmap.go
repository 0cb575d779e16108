// Package mmap maps files into memory for reading.
//
// Map only files that nobody changes in place: touching a page behind the end of a file that was cut
// meanwhile ends the process. Our own caches are written under a temporary name and renamed.
package mmap

import (
	"fmt"
	"os"
)

// File is a mapped file. Data is valid until Close and must not be written to; an empty file has none.
type File struct{ Data []byte }

// Open maps the regular file at path.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping outlives the descriptor
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	size := info.Size()
	if size == 0 {
		return &File{}, nil
	}
	if int64(int(size)) != size {
		return nil, fmt.Errorf("open %s: larger than the address space", path)
	}
	data, err := mapFile(f, int(size))
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	return &File{data}, nil
}

// Forget lets go of the memory of a piece of Data. What of it is touched again is read again.
func (f *File) Forget(piece []byte) {
	page := os.Getpagesize()
	from := cap(f.Data) - cap(piece) // both reach to the end
	end := min((from+len(piece)+page-1)&^(page-1), len(f.Data))
	if from &^= page - 1; from >= 0 && from < end {
		forget(f.Data[from:end])
	}
}

// Close unmaps the file. No slice of Data may be used afterwards.
func (f *File) Close() error {
	data := f.Data
	f.Data = nil
	if data == nil {
		return nil
	}
	return unmap(data)
}
