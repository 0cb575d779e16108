package inflate

import (
	"encoding/binary"
	"fmt"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// Of a cabinet (the Microsoft Cabinet Format specification), which is what symbol servers keep a file in whose
// name ends in _.
const (
	cabMagic    = "MSCF"
	cabHasPrev  = 1 << 0 // the set of cabinets began in another
	cabHasNext  = 1 << 1
	cabReserves = 1 << 2 // space of whoever made it
	cabStored   = 0
	cabMSZIP    = 1
	cabLZX      = 3
	cabMethod   = 0xf
)

// cabinet returns the one file in a cabinet, whose data is as it is or in MSZIP. With an error come the bytes before it.
func cabinet(src []byte, limit uint64) ([]byte, error) {
	c := cursor.New(src, "cabinet", "")
	c.Skip(16)
	filesAt := c.U32()
	c.Skip(6)
	folders, files, flags := c.U16(), c.U16(), c.U16()
	c.Skip(4)
	var folderSpace, blockSpace uint64
	if flags&cabReserves != 0 {
		header := uint64(c.U16())
		folderSpace, blockSpace = uint64(c.U8()), uint64(c.U8())
		c.Skip(header)
	}
	switch {
	case c.Err() != nil:
		return nil, c.Err()
	case flags&(cabHasPrev|cabHasNext) != 0:
		return nil, fail("cabinet", 30, "one of several that belong together", debug.ErrUnsupported)
	case folders != 1 || files != 1:
		return nil, fail("cabinet", 26, fmt.Sprintf("%d files in it where symbol servers put one", files), debug.ErrUnsupported)
	}
	at, count, method := uint64(c.U32()), int(c.U16()), c.U16()
	c.Skip(folderSpace)
	f := cursor.New(src, "cabinet", "")
	f.Skip(uint64(filesAt))
	size, offset := uint64(f.U32()), uint64(f.U32())
	switch {
	case c.Err() != nil:
		return nil, c.Err()
	case f.Err() != nil:
		return nil, f.Err()
	}
	switch method & cabMethod {
	case cabStored, cabMSZIP:
	case cabLZX:
		return nil, fail("cabinet", 0, "compressed by LZX, which is not read: expand it with cabextract", debug.ErrUnsupported)
	default:
		return nil, fail("cabinet", 0, "unknown compression", debug.ErrUnsupported)
	}
	// What the blocks say they hold bounds what is allocated.
	blocks := cursor.New(src, "cabinet", "")
	blocks.Skip(at)
	start := blocks
	most := uint64(0)
	for range count {
		blocks.Skip(4)
		packed, inflated := blocks.U16(), blocks.U16()
		blocks.Skip(blockSpace + uint64(packed))
		if blocks.Err() != nil {
			break
		}
		most += uint64(inflated)
	}
	if err := check("cabinet", offset+size, limit, most); err != nil {
		return nil, err
	}
	d := deflaters.Get().(*deflater)
	d.out, d.size = make([]byte, 0, min(most, zlibFirstRatio*uint64(len(src)))), most
	defer func() {
		d.src, d.out = nil, nil
		deflaters.Put(d)
	}()
	for uint64(len(d.out)) < offset+size {
		from := len(d.out)
		sum := start.U32()
		header := start.Rest()
		packed, inflated := start.U16(), start.U16()
		start.Skip(blockSpace)
		block := start.Bytes(uint64(packed))
		err := start.Err()
		switch {
		case err != nil:
		case sum != 0 && cabSum(block)^cabSum(header[:4+blockSpace]) != sum:
			err = fail("cabinet", start.Offset(), "checksum does not match", nil)
		case method&cabMethod == cabStored:
			if err = d.grow(len(block)); err == nil {
				d.out = append(d.out, block...)
			}
		case len(block) < 2 || string(block[:2]) != "CK":
			err = fail("cabinet", start.Offset(), "block without the signature of MSZIP", nil)
		default:
			d.src, d.in, d.bit, d.have = block[2:], 0, 0, 0
			for last := false; !last && err == nil; {
				last, err = d.block() // what blocks before it hold may be repeated
			}
		}
		if err == nil && len(d.out)-from != int(inflated) {
			err = fail("cabinet", start.Offset(), "block of another size than it says", nil)
		}
		if err != nil {
			return d.out[min(offset, uint64(from)):from], err
		}
	}
	return d.out[offset : offset+size], nil
}

// cabSum is the checksum of a block: its words, of which the last may be short and is then the other way around.
func cabSum(b []byte) (sum uint32) {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	rest := uint32(0)
	for _, v := range b {
		rest = rest<<8 | uint32(v)
	}
	return sum ^ rest
}
