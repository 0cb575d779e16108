package symbols

import (
	"hash/maphash"
)

// StringID names a string of one Strings table. Zero is the empty string, which everywhere means "none".
type StringID uint32

// Strings is an append-only table of byte strings. Ids are handed out in order of first use, so equal
// input gives equal ids. Not safe for concurrent use.
type Strings struct {
	blocks [][]byte
	refs   []stringRef
	table  []StringID // open addressing, 0 = free
	used   int
}

type stringRef struct{ block, off, len, hash uint32 } // hash 0: not known

// Blocks grow from small to this size: many tables hold a handful of names.
const stringBlock = 1 << 20

// One seed for the process: hashes never reach the output.
var seed = maphash.MakeSeed()

// NewStrings returns a table that holds only the empty string.
func NewStrings() *Strings { return &Strings{refs: make([]stringRef, 1), table: make([]StringID, 64)} }

// Len returns the number of ids handed out; valid ids are below it.
func (s *Strings) Len() int { return len(s.refs) }

// Bytes returns the string of id. It aliases the table and must not be changed.
func (s *Strings) Bytes(id StringID) []byte {
	r := s.refs[id]
	if r.len == 0 {
		return nil
	}
	return s.blocks[r.block][r.off : r.off+r.len : r.off+r.len]
}

// Intern returns the id of b, copying b on first use. Strings over 4 GiB are cut.
func (s *Strings) Intern(b []byte) StringID {
	if len(b) == 0 {
		return 0
	}
	if 4*s.used >= 3*len(s.table) {
		s.grow()
	}
	hash := Hash(b)
	for i := s.slot(hash); ; i = (i + 1) & (len(s.table) - 1) {
		id := s.table[i]
		if id == 0 {
			id = s.Reserve()
			s.store(id, b, hash)
			s.table[i] = id
			s.used++
			return id
		}
		if s.refs[id].hash == hash && string(s.Bytes(id)) == string(b) {
			return id
		}
	}
}

// Reserve returns a new id whose string Alias gives later; until then it is empty. It serves formats
// that refer to a name before they define it.
func (s *Strings) Reserve() StringID {
	s.refs = append(s.refs, stringRef{})
	return StringID(len(s.refs) - 1)
}

// Name is a piece of a text with its Hash, or 0 to have that made when it is needed.
type Name struct{ Lo, Hi, Hash uint32 }

// Append adds names of a text, which it retains; the first has the id returned, the others follow. Intern
// never returns these ids, so equal strings may then have different ids.
func (s *Strings) Append(text []byte, names []Name) (first StringID) {
	first = StringID(len(s.refs))
	block := uint32(len(s.blocks))
	s.blocks = append(s.blocks, text[:len(text):len(text)])
	for _, n := range names {
		s.refs = append(s.refs, stringRef{block, n.Lo, n.Hi - n.Lo, n.Hash})
	}
	return first
}

// Alias gives an id that came from Reserve the string of another.
func (s *Strings) Alias(id, of StringID) { s.refs[id] = s.refs[of] }

func (s *Strings) store(id StringID, b []byte, hash uint32) {
	b = b[:min(uint64(len(b)), 1<<32-1)]
	last := len(s.blocks) - 1
	if last < 0 || len(b) > cap(s.blocks[last])-len(s.blocks[last]) {
		s.blocks = append(s.blocks, make([]byte, 0, max(min(stringBlock, 4096<<min(len(s.blocks), 8)), len(b))))
		last++
	}
	s.refs[id] = stringRef{uint32(last), uint32(len(s.blocks[last])), uint32(len(b)), hash}
	s.blocks[last] = append(s.blocks[last], b...)
}

// Hash returns a hash of b that is good for this process; never 0.
func Hash(b []byte) uint32 { return uint32(maphash.Bytes(seed, b)) | 1<<31 }

// Hash returns the Hash of the string of id.
func (s *Strings) Hash(id StringID) uint32 {
	if h := s.refs[id].hash; h != 0 {
		return h
	}
	return Hash(s.Bytes(id))
}

func (s *Strings) slot(hash uint32) int { return int(hash) & (len(s.table) - 1) }

func (s *Strings) grow() {
	old := s.table
	s.table = make([]StringID, 2*len(old))
	for _, id := range old {
		if id == 0 {
			continue
		}
		i := s.slot(s.refs[id].hash)
		for s.table[i] != 0 {
			i = (i + 1) & (len(s.table) - 1)
		}
		s.table[i] = id
	}
}
