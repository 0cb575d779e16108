package inflate

import (
	"encoding/binary"
	"sync"

	"salvage/debug"
)

// deflater decodes DEFLATE (RFC 1951) from memory into memory. Libraries decode a stream through a window
// and copy out of it; with all input and output at hand there is no window, most steps need no look at the
// ends of either, and one load fills the bit buffer for several symbols. Debug sections are the largest
// thing that is read of a file, and nothing else can begin before they are inflated: BenchmarkInflate has
// the library beside it.
type deflater struct {
	src  []byte
	in   int    // of src, taken into bit
	bit  uint64 // the next bits, lowest first; above the have lowest there may be more of src
	have uint

	out   []byte // len is what is decoded
	size  uint64 // what cap(out) may grow to
	lit   [litSize]uint32
	dist  [distSize]uint32
	codes [codesSize]uint32
	lens  [maxLit + maxDist]uint8
}

// Codes of RFC 1951 §3.2.5 to §3.2.7.
const (
	maxLit, maxDist = 286, 30 // that mean something
	litSymbols      = 288
	maxCodeLen      = 15
	endOfBlock      = 256
)

// A table is indexed by the next bits; codes longer than its index go on in a second table behind the
// first. The sizes are the most that a code of so many symbols, of at most 15 bits, can need (zlib's
// enough.c counts them).
const (
	litBits, litSize     = 11, 2342
	distBits, distSize   = 8, 402
	codesBits, codesSize = 7, 128
)

// An entry of a table. The low six bits are how many bits it takes, those that follow the code included.
const (
	isLiteral = 1 << 31 // the byte is in bits 16 to 23
	isSpecial = 1 << 15 // not a base value: one of the next two, or no code at all
	isLink    = 1 << 14 // bits 16 to 30: where the second table is; 8 to 11: bits of its index
	isEnd     = 1 << 13 // of the block
	codeShift = 8       // bits 8 to 12: length of the code, without the bits that follow it
	baseShift = 16      // bits 16 to 30: to which the following bits are added

	takesMask = 1<<6 - 1
	codeMask  = 1<<5 - 1
	baseMask  = 1<<15 - 1
)

var litEntries, distEntries, codeEntries, fixedLens = func() (lit [maxLit + 2]uint32, dist [maxDist + 2]uint32, codes [19]uint32, fixed [288 + 32]uint8) {
	for i := range endOfBlock {
		lit[i] = isLiteral | uint32(i)<<baseShift
	}
	lit[endOfBlock] = isSpecial | isEnd
	base := uint32(3)
	for i := range uint32(28) {
		extra := uint32(0)
		if i >= 8 {
			extra = i/4 - 1
		}
		lit[257+i] = base<<baseShift | extra
		base += 1 << extra
	}
	lit[285] = 258 << baseShift
	lit[286], lit[287] = isSpecial, isSpecial // in the fixed code, without meaning
	base = 1
	for i := range uint32(30) {
		extra := uint32(0)
		if i >= 4 {
			extra = i/2 - 1
		}
		dist[i] = base<<baseShift | extra
		base += 1 << extra
	}
	dist[30], dist[31] = isSpecial, isSpecial
	for i := range codes {
		codes[i] = uint32(i) << baseShift
	}
	for i := range fixed {
		switch {
		case i < 144:
			fixed[i] = 8
		case i < 256:
			fixed[i] = 9
		case i < 280:
			fixed[i] = 7
		case i < 288:
			fixed[i] = 8
		default:
			fixed[i] = 5
		}
	}
	return
}()

// build fills table for the codes of the given lengths, of which entries says what they stand for, and
// reports whether they are a code. An incomplete one is allowed if it is empty or a single code of one
// bit, which is how one distance is written.
func build(table []uint32, index uint, lens []uint8, entries []uint32) bool {
	var count, next [maxCodeLen + 1]int
	for _, n := range lens {
		count[n]++
	}
	count[0] = 0
	used, left, longest := 0, 1, uint(0)
	for n := uint(1); n <= maxCodeLen; n++ {
		next[n] = used
		used += count[n]
		if left = left<<1 - count[n]; left < 0 {
			return false
		}
		if count[n] > 0 {
			longest = n
		}
	}
	if left > 0 {
		if longest > 1 || used > 1 {
			return false
		}
		for i := range table[:1<<index] {
			table[i] = isSpecial
		}
	}
	var order [litSymbols]uint16
	for sym, n := range lens {
		if n > 0 {
			order[next[n]] = uint16(sym)
			next[n]++
		}
	}
	code := uint(0) // its bits in the order they are read, lowest first; longer codes go on where shorter end
	first := 0      // of order, of this length
	linked, second, end, bitsOfSecond := ^uint(0), uint(0), uint(1)<<index, uint(0)
	for n := uint(1); n <= longest; n++ {
		for i := range count[n] {
			e := entries[order[first+i]] + uint32(n)<<codeShift + uint32(n)
			if n <= index {
				for at := code; at < 1<<index; at += 1 << n {
					table[at] = e
				}
			} else {
				if low := code & (1<<index - 1); low != linked {
					// Codes that begin alike stand together: the table is as large as they need.
					linked, second, bitsOfSecond = low, end, n-index
					for space := count[n] - i; space < 1<<bitsOfSecond; {
						bitsOfSecond++
						space = space<<1 + count[index+bitsOfSecond]
					}
					end += 1 << bitsOfSecond
					table[low] = uint32(second)<<baseShift | isSpecial | isLink | uint32(bitsOfSecond)<<codeShift | uint32(index)
				}
				e -= uint32(index)<<codeShift + uint32(index)
				for at := code >> index; at < 1<<bitsOfSecond; at += 1 << (n - index) {
					table[second+at] = e
				}
			}
			high := uint(1) << (n - 1) // add one, the last bit read counting least
			for ; code&high != 0; high >>= 1 {
				code &^= high
			}
			code |= high
		}
		first += count[n]
	}
	return true
}

var deflaters = sync.Pool{New: func() any { return new(deflater) }}

// fill takes bytes of src until 56 bits are there, or all.
func (d *deflater) fill() {
	for d.have <= 56 && d.in < len(d.src) {
		d.bit |= uint64(d.src[d.in]) << d.have
		d.in++
		d.have += 8
	}
}

// take returns the next n ≤ 32 bits.
func (d *deflater) take(n uint) (uint32, error) {
	if d.have < n {
		if d.fill(); d.have < n {
			return 0, d.truncated()
		}
	}
	v := d.bit & (1<<n - 1)
	d.bit >>= n
	d.have -= n
	return uint32(v), nil
}

// align goes to the next byte of src that is not read.
func (d *deflater) align() {
	d.in -= int(d.have / 8)
	d.bit, d.have = 0, 0
}

func (d *deflater) offset() uint64 { return uint64(d.in) - uint64(d.have/8) }

func (d *deflater) truncated() error {
	return fail("zlib", uint64(len(d.src)), "stream without end", debug.ErrTruncated)
}

func (d *deflater) corrupt(reason string) error { return fail("zlib", d.offset(), reason, nil) }

// grow makes room for n more bytes.
func (d *deflater) grow(n int) error {
	if uint64(n) > d.size-uint64(len(d.out)) {
		return fail("zlib", d.offset(), "holds more than the declared size", debug.ErrTooLarge)
	}
	if need := len(d.out) + n; need > cap(d.out) {
		grown := make([]byte, len(d.out), min(d.size, max(2*uint64(cap(d.out)), uint64(need))))
		copy(grown, d.out)
		d.out = grown
	}
	return nil
}

// block decodes the next block and reports whether it is the last.
func (d *deflater) block() (last bool, err error) {
	header, err := d.take(3)
	if err != nil {
		return false, err
	}
	last = header&1 != 0
	switch header >> 1 {
	case 0:
		return last, d.stored()
	case 1:
		build(d.lit[:], litBits, fixedLens[:litSymbols], litEntries[:])
		build(d.dist[:], distBits, fixedLens[litSymbols:], distEntries[:])
	case 2:
		if err := d.dynamic(); err != nil {
			return false, err
		}
	default:
		return false, d.corrupt("block of a reserved type")
	}
	for {
		done, err := d.fast()
		if !done && err == nil {
			done, err = d.step()
		}
		if done || err != nil {
			return last, err
		}
	}
}

func (d *deflater) stored() error {
	d.align()
	if len(d.src)-d.in < 4 {
		return d.truncated()
	}
	n := int(binary.LittleEndian.Uint16(d.src[d.in:]))
	if n^0xffff != int(binary.LittleEndian.Uint16(d.src[d.in+2:])) {
		return d.corrupt("size of a stored block and its complement differ")
	}
	d.in += 4
	if len(d.src)-d.in < n {
		return d.truncated()
	}
	if err := d.grow(n); err != nil {
		return err
	}
	d.out = append(d.out, d.src[d.in:d.in+n]...)
	d.in += n
	return nil
}

// dynamic reads the codes of a block (RFC 1951 §3.2.7).
func (d *deflater) dynamic() error {
	counts, err := d.take(5 + 5 + 4)
	if err != nil {
		return err
	}
	nlit, ndist, ncodes := 257+counts&31, 1+counts>>5&31, 4+counts>>10
	if nlit > maxLit || ndist > maxDist {
		return d.corrupt("more codes than there are")
	}
	var lens [19]uint8
	order := [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, i := range order[:ncodes] {
		n, err := d.take(3)
		if err != nil {
			return err
		}
		lens[i] = uint8(n)
	}
	if !build(d.codes[:], codesBits, lens[:], codeEntries[:]) {
		return d.corrupt("lengths of codes that are no code")
	}
	all := d.lens[:nlit+ndist]
	for i := 0; i < len(all); {
		d.fill()
		e := d.codes[d.bit&(1<<codesBits-1)]
		if e&isSpecial != 0 {
			return d.corrupt("no code")
		}
		if _, err := d.take(uint(e & takesMask)); err != nil {
			return err
		}
		sym := e >> baseShift & baseMask
		if sym < 16 {
			all[i] = uint8(sym)
			i++
			continue
		}
		repeat := [3]struct {
			bits uint
			base uint32
		}{{2, 3}, {3, 3}, {7, 11}}[sym-16]
		n, err := d.take(repeat.bits)
		if err != nil {
			return err
		}
		n += repeat.base
		value := uint8(0)
		if sym == 16 {
			if i == 0 {
				return d.corrupt("repeats a length before the first")
			}
			value = all[i-1]
		}
		if int(n) > len(all)-i {
			return d.corrupt("more lengths than codes")
		}
		for range n {
			all[i] = value
			i++
		}
	}
	if !build(d.lit[:], litBits, all[:nlit], litEntries[:]) || !build(d.dist[:], distBits, all[nlit:], distEntries[:]) {
		return d.corrupt("lengths that are no code")
	}
	return nil
}

// step decodes one symbol and reports whether it is the end of the block. It looks at the ends of both
// input and output.
func (d *deflater) step() (end bool, err error) {
	e, v, err := d.symbol(d.lit[:], litBits)
	switch {
	case err != nil:
		return false, err
	case e&isEnd != 0:
		return true, nil
	case e&isLiteral != 0:
		if err := d.grow(1); err != nil {
			return false, err
		}
		d.out = append(d.out, uint8(e>>baseShift))
		return false, nil
	}
	n := int(v)
	if _, v, err = d.symbol(d.dist[:], distBits); err != nil {
		return false, err
	}
	if int(v) > len(d.out) {
		return false, d.corrupt("repeats what is before the start")
	}
	if err := d.grow(n); err != nil {
		return false, err
	}
	for range n {
		d.out = append(d.out, d.out[len(d.out)-int(v)])
	}
	return false, nil
}

// symbol returns the next entry of a table and its value.
func (d *deflater) symbol(table []uint32, index uint) (e, v uint32, err error) {
	d.fill()
	e = table[d.bit&(1<<index-1)]
	if e&isLink != 0 {
		link := e
		if _, err := d.take(index); err != nil {
			return 0, 0, err
		}
		e = table[uint64(link>>baseShift&baseMask)+d.bit&(1<<(link>>codeShift&codeMask)-1)]
	}
	if e&(isSpecial|isEnd) == isSpecial {
		if d.in == len(d.src) && d.have < maxCodeLen {
			return 0, 0, d.truncated()
		}
		return 0, 0, d.corrupt("no code")
	}
	bits, err := d.take(uint(e & takesMask))
	return e, e>>baseShift&baseMask + bits>>(e>>codeShift&codeMask), err
}

// fast decodes symbols while the ends of input and output are far and reports whether it came to the end
// of the block.
func (d *deflater) fast() (end bool, err error) {
	const (
		inMargin  = 24  // two loads of eight bytes, the second up to seven bytes on
		outMargin = 272 // two literals, a match of 258, whose last eight bytes may be all but one too many
	)
	src, in, bit, have := d.src, d.in, d.bit, d.have
	out, pos := d.out[:cap(d.out)], len(d.out)
	lit, dist := &d.lit, &d.dist
	inEnd, outEnd := len(src)-inMargin, len(out)-outMargin
	for in <= inEnd && pos <= outEnd {
		bit |= binary.LittleEndian.Uint64(src[in:]) << (have & 63)
		in += int(63-have) >> 3
		have |= 56

		e := lit[bit&(1<<litBits-1)]
		if e&isLiteral != 0 {
			out[pos] = uint8(e >> baseShift)
			pos++
			bit >>= e & takesMask
			have -= uint(e & takesMask)
			e = lit[bit&(1<<litBits-1)]
			if e&isLiteral != 0 {
				out[pos] = uint8(e >> baseShift)
				pos++
				bit >>= e & takesMask
				have -= uint(e & takesMask)
				e = lit[bit&(1<<litBits-1)]
				if e&isLiteral != 0 {
					out[pos] = uint8(e >> baseShift)
					pos++
					bit >>= e & takesMask
					have -= uint(e & takesMask)
					continue
				}
			}
		}
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				bit >>= litBits
				have -= litBits
				e = lit[uint64(e>>baseShift&baseMask)+bit&(1<<(e>>codeShift&codeMask)-1)]
			}
			if e&isLiteral != 0 {
				out[pos] = uint8(e >> baseShift)
				pos++
				bit >>= e & takesMask
				have -= uint(e & takesMask)
				continue
			}
			if e&isSpecial != 0 {
				bit >>= e & takesMask
				have -= uint(e & takesMask)
				end = e&isEnd != 0
				if !end {
					err = d.corrupt("no code")
				}
				break
			}
		}
		n := int(e>>baseShift&baseMask) + int(bit&(1<<(e&takesMask)-1)>>(e>>codeShift&codeMask))
		bit >>= e & takesMask
		have -= uint(e & takesMask)

		bit |= binary.LittleEndian.Uint64(src[in:]) << (have & 63)
		in += int(63-have) >> 3
		have |= 56
		e = dist[bit&(1<<distBits-1)]
		if e&isSpecial != 0 {
			if e&isLink != 0 {
				bit >>= distBits
				have -= distBits
				e = dist[uint64(e>>baseShift&baseMask)+bit&(1<<(e>>codeShift&codeMask)-1)]
			}
			if e&isSpecial != 0 {
				err = d.corrupt("no code")
				break
			}
		}
		back := int(e>>baseShift&baseMask) + int(bit&(1<<(e&takesMask)-1)>>(e>>codeShift&codeMask))
		bit >>= e & takesMask
		have -= uint(e & takesMask)
		if back > pos {
			err = d.corrupt("repeats what is before the start")
			break
		}
		from, to := pos-back, pos
		pos += n
		switch {
		case back >= 8: // what a step reads was written by the steps before it, even where the two overlap
			for ; to < pos; to, from = to+8, from+8 {
				binary.LittleEndian.PutUint64(out[to:], binary.LittleEndian.Uint64(out[from:]))
			}
		case back == 1:
			for v := uint64(out[from]) * 0x0101010101010101; to < pos; to += 8 {
				binary.LittleEndian.PutUint64(out[to:], v)
			}
		default:
			for ; to < pos; to, from = to+1, from+1 {
				out[to] = out[from]
			}
		}
	}
	d.in, d.bit, d.have, d.out = in, bit, have, out[:pos]
	return end, err
}
