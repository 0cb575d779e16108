package pe

import (
	"salvage/debug/debugid"
	"salvage/debug/internal/cursor"
)

const (
	debugEntrySize  = 28
	debugCodeView   = 2      // IMAGE_DEBUG_TYPE_CODEVIEW
	portablePDB     = 0x504d // "MP" as the entry's minor version
	maxPDBName      = 64 << 10
	maxDebugEntries = 1024
)

// CodeID returns the code id: the header's timestamp and the size of the image.
func (f *File) CodeID() debugid.CodeID { return debugid.CodeIDFromPE(f.Timestamp, f.SizeOfImage) }

// CodeView returns the debug id and the path of the PDB that the linker wrote into the file, the first of
// its CodeView records that can be used: RSDS with GUID and age, NB10 with timestamp and age. Without one,
// or with a GUID of zeros, the id is zero.
//
// The age of the id is the record's, which is that of the PDB's DBI stream. Where the record names a
// portable PDB, which has no age, it is the entry's timestamp.
func (f *File) CodeView() (id debugid.ID, pdb string) {
	c := cursor.New(f.directoryData(directoryDebug), "pe", "debug directory")
	for range maxDebugEntries {
		if c.Len() < debugEntrySize {
			break
		}
		c.Skip(4)
		stamp := c.U32()
		c.Skip(2)
		minor, kind := c.U16(), c.U32()
		size, addr, offset := uint64(c.U32()), c.U32(), uint64(c.U32())
		if kind != debugCodeView {
			continue
		}
		// Memory images have their bytes at the address, files at the offset.
		r := cursor.New(f.data, "pe", "CodeView record")
		r.Skip(offset)
		r = cursor.New(r.Rest()[:min(r.Len(), size)], "pe", "CodeView record")
		if offset == 0 {
			data := f.At(addr)
			r = cursor.New(data[:min(uint64(len(data)), size)], "pe", "CodeView record")
		}
		switch string(r.Bytes(4)) {
		case "RSDS":
			var guid [16]byte
			copy(guid[:], r.Bytes(16))
			age := r.U32()
			if r.Err() != nil || guid == [16]byte{} {
				continue
			}
			if minor == portablePDB {
				age = stamp
			}
			return debugid.FromGUID(guid, age), string(cut(r.Rest()[:min(r.Len(), maxPDBName)]))
		case "NB10":
			r.Skip(4)
			stamp, age := r.U32(), r.U32()
			if r.Err() != nil {
				continue
			}
			return debugid.FromTimestamp(stamp, age), string(cut(r.Rest()[:min(r.Len(), maxPDBName)]))
		}
	}
	return debugid.ID{}, ""
}
