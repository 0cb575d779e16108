package inflate_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"salvage/debug"
	"salvage/debug/internal/inflate"
	"salvage/internal/debugtest"
)

// cab is a cabinet with one file, to be made.
type cab struct {
	method       uint16 // 0 as it is, 1 MSZIP
	reserve      bool   // space in each header
	noSum        bool
	skip         int // bytes of the folder before the file
	folders      uint16
	files, flags uint16
}

func (c cab) build(data []byte) []byte {
	le := binary.LittleEndian
	c.files, c.folders = max(c.files, 1), max(c.folders, 1)
	var reserved, folderSpace, blockSpace []byte
	if c.reserve {
		c.flags |= 4
		folderSpace, blockSpace = []byte("fo"), []byte("blk")
		reserved = append([]byte{3, 0, byte(len(folderSpace)), byte(len(blockSpace))}, "hdr"...)
	}
	sum := func(b []byte) (s uint32) {
		for ; len(b) >= 4; b = b[4:] {
			s ^= le.Uint32(b)
		}
		for i, v := range b { // the last bytes, the first of them highest
			s ^= uint32(v) << (8 * (len(b) - 1 - i))
		}
		return s
	}
	var blocks []byte
	count := uint16(0)
	folder := append(bytes.Repeat([]byte{'-'}, c.skip), data...)
	for at := 0; at < len(folder); at += 32 << 10 {
		piece := folder[at:min(at+32<<10, len(folder))]
		packed := piece
		if c.method&0xf == 1 {
			var out bytes.Buffer
			w, err := flate.NewWriterDict(&out, 6, folder[max(0, at-32<<10):at])
			if err != nil {
				panic(err)
			}
			_, _ = w.Write(piece)
			_ = w.Close()
			packed = append([]byte("CK"), out.Bytes()...)
		}
		head := le.AppendUint16(le.AppendUint16(nil, uint16(len(packed))), uint16(len(piece)))
		head = append(head, blockSpace...)
		s := sum(packed) ^ sum(head)
		if c.noSum {
			s = 0
		}
		blocks = append(append(le.AppendUint32(blocks, s), head...), packed...)
		count++
	}
	filesAt := 36 + len(reserved) + 8 + len(folderSpace)
	file := le.AppendUint32(le.AppendUint32(nil, uint32(len(data))), uint32(c.skip))
	file = append(file, "\x00\x00dati\x20\x00a.pdb\x00"...)
	out := append([]byte("MSCF"), make([]byte, 12)...)
	out = le.AppendUint32(out, uint32(filesAt))
	out = append(out, 0, 0, 0, 0, 3, 1)
	for _, v := range []uint16{c.folders, c.files, c.flags, 0, 0} {
		out = le.AppendUint16(out, v)
	}
	out = append(out, reserved...)
	out = le.AppendUint32(out, uint32(filesAt+len(file)))
	out = le.AppendUint16(le.AppendUint16(out, count), c.method)
	out = append(out, folderSpace...)
	return append(append(out, file...), blocks...)
}

func TestCabinet(t *testing.T) {
	large := bytes.Repeat(contents()[3], 12) // each block repeats what the one before it holds
	for _, c := range []cab{{}, {method: 1}, {method: 1, reserve: true}, {reserve: true}, {method: 1, noSum: true}, {method: 1, skip: 40000}, {skip: 5}} {
		for _, data := range append(contents()[1:], large) {
			name := fmt.Sprintf("%+v, %d bytes", c, len(data))
			src := c.build(data)
			for _, limit := range []uint64{uint64(len(data) + c.skip), 1 << 30} {
				if out, err := inflate.File(src, limit); inflate.Format(src) != "cabinet" || err != nil || !bytes.Equal(out, data) {
					t.Errorf("%s: %d bytes, %v", name, len(out), err)
				}
			}
			if out, err := inflate.File(src, uint64(len(data)+c.skip-1)); !errors.Is(err, debug.ErrTooLarge) || out != nil {
				t.Errorf("%s, limited: %d bytes, %v", name, len(out), err)
			}
			for n := range 200 {
				if out, err := inflate.File(src[:max(len(src)*n/200, 4)], 1<<30); !errors.Is(err, debug.ErrTruncated) || !bytes.HasPrefix(data, out) {
					t.Fatalf("%s, cut at %d of 200: %d bytes, %v", name, n, len(out), err)
				}
			}
		}
	}
	data := contents()[2]
	for name, tt := range map[string]struct {
		cab    cab
		at     int // of a byte that is changed, from the end if negative
		reason string
		cause  error
	}{
		"LZX":          {cab{method: 0x1503}, 0, "compressed by LZX, which is not read: expand it with cabextract", debug.ErrUnsupported},
		"Quantum":      {cab{method: 2}, 0, "unknown compression", debug.ErrUnsupported},
		"two files":    {cab{files: 2}, 0, "2 files in it where symbol servers put one", debug.ErrUnsupported},
		"two folders":  {cab{folders: 2}, 0, "1 files in it where symbol servers put one", debug.ErrUnsupported},
		"goes on":      {cab{flags: 2}, 0, "one of several that belong together", debug.ErrUnsupported},
		"began before": {cab{flags: 1}, 0, "one of several that belong together", debug.ErrUnsupported},
		"content":      {cab{}, -5, "checksum does not match", nil},
		"reserve":      {cab{reserve: true}, -len(data) - 2, "checksum does not match", nil},
		"signature":    {cab{method: 1, noSum: true}, 36 + 8 + 22 + 8, "block without the signature of MSZIP", nil},
		"size":         {cab{noSum: true}, 36 + 8 + 22 + 6, "block of another size than it says", nil},
	} {
		src := tt.cab.build(data)
		if tt.at < 0 {
			tt.at += len(src)
		}
		if tt.at > 0 {
			src[tt.at] ^= 1
		}
		var fe *debug.FormatError
		if _, err := inflate.File(src, 1<<20); !errors.As(err, &fe) || fe.Reason != tt.reason || !errors.Is(fe.Err, tt.cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A claim is no reason to allocate.
	hollow := cab{}.build(make([]byte, 1000))[:36+8+22]
	binary.LittleEndian.PutUint16(hollow[36+4:], 0xffff)
	hollow = append(hollow, bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 0x80}, 0xffff)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := inflate.File(hollow, 4<<30)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err == nil || got > 17*uint64(len(hollow)) {
		t.Errorf("hollow: %d bytes allocated, %v", got, err)
	}
	out, err := inflate.File(debugtest.File(t, "dump_syms/windows/basic32.pd_"), 1<<30)
	if err != nil || len(out) != 6590464 || !bytes.HasPrefix(out, []byte("Microsoft C/C++ MSF 7.00")) {
		t.Errorf("fixture: %d bytes, %v", len(out), err)
	}
}

// What a program of the format writes.
func TestCabinetProgram(t *testing.T) {
	program := debugtest.Program(t, "cabinets", "gcab")
	for _, data := range contents()[1:] {
		for _, flag := range []string{"-n", "-z"} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, "-c", flag, "a.cab", "a")
			cmd.Dir = dir
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			src, err := os.ReadFile(filepath.Join(dir, "a.cab"))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := inflate.File(src, 1<<30); err != nil || !bytes.Equal(out, data) {
				t.Errorf("%s, %d bytes: %d bytes, %v", flag, len(data), len(out), err)
			}
		}
	}
}
