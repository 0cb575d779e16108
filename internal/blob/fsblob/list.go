package fsblob

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"salvage/internal/blob"
)

func (e *engine) List(ctx context.Context, prefix, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
		(&lister{ctx, e, prefix, after, yield}).folder(folder)
	}
}

type lister struct {
	ctx           context.Context
	e             *engine
	prefix, after string
	yield         func(blob.Info, error) bool
}

// folder lists the objects whose keys start with lead, which is empty or ends in "/"; false: no more.
func (l *lister) folder(lead string) bool {
	dir, err := l.e.root.OpenRoot(folderPath(lead))
	if missing(err) {
		return true
	}
	if err != nil {
		l.yield(blob.Info{}, kind(err))
		return false
	}
	defer dir.Close()
	for done := ""; ; {
		var entries []string
		err := l.e.do("list", lead, func() (err error) {
			entries, err = l.entries(dir, lead, done)
			return err
		})
		if err != nil {
			l.yield(blob.Info{}, kind(err))
			return false
		}
		for _, entry := range entries {
			if !l.entry(dir, lead, entry) {
				return false
			}
		}
		if len(entries) < l.e.batch {
			return true
		}
		done = entries[len(entries)-1]
	}
}

func (l *lister) entry(dir *os.Root, lead, entry string) bool {
	if err := l.ctx.Err(); err != nil {
		l.yield(blob.Info{}, err)
		return false
	}
	if strings.HasSuffix(entry, "/") {
		return l.folder(entry)
	}
	info, err := dir.Lstat(encode(entry[len(lead):], true))
	if missing(err) {
		return true // deleted meanwhile
	}
	if err != nil {
		l.yield(blob.Info{}, kind(err))
		return false
	}
	return l.yield(blob.Info{Key: entry, Size: info.Size(), ModTime: info.ModTime()}, nil)
}

// entries returns the least names of a folder that the listing needs and that are greater than done,
// at most a batch: keys of objects, and of folders what their keys start with, "/" at the end. In this
// form the order of names is the order of all keys below them.
func (l *lister) entries(dir *os.Root, lead, done string) (least []string, err error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cut := func() {
		slices.Sort(least)
		least = least[:min(len(least), l.e.batch)]
	}
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if segment, object, ok := decode(name); ok {
				if entry := lead + segment; l.wants(&entry, object) && entry > done {
					least = append(least, entry)
				}
			}
		}
		if len(least) >= 2*l.e.batch {
			cut()
		}
		if errors.Is(err, io.EOF) {
			cut()
			return least, nil
		}
		if err != nil {
			return nil, err
		}
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// wants reports whether the listing needs the entry, and completes that of a folder.
func (l *lister) wants(entry *string, object bool) bool {
	if object {
		return *entry > l.after && strings.HasPrefix(*entry, l.prefix)
	}
	*entry += "/"
	return (*entry > l.after || strings.HasPrefix(l.after, *entry)) &&
		(strings.HasPrefix(*entry, l.prefix) || strings.HasPrefix(l.prefix, *entry))
}
