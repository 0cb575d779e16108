package symstore_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"salvage/internal/debugtest"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/symstore"
)

// universal puts files of the same machine side by side.
func universal(files ...[]byte) []byte {
	be := binary.BigEndian
	out := be.AppendUint32(be.AppendUint32(nil, 0xcafebabe), uint32(len(files)))
	at := 8 + 20*len(files)
	for _, f := range files {
		for _, v := range []uint32{0x1000007, 3, uint32(at), uint32(len(f)), 0} {
			out = be.AppendUint32(out, v)
		}
		at += len(f)
	}
	return slices.Concat(append([][]byte{out}, files...)...)
}

// TestMac: an image has the rules and a dSYM the names; each architecture of a universal file is a file of its own.
func TestMac(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	image, dsym := debugtest.File(t, "symbolic/macos/crash"), debugtest.File(t, "symbolic/macos/crash.dSYM/Contents/Resources/DWARF/crash")
	other := debugtest.File(t, "symbolic/macos/overlapping_funcs.dSYM/Contents/Resources/DWARF/overlapping_funcs")
	const id, otherID = "67E9247C814E392BA027DBDE6748FCBF0", "546D01320E063B7A8640BE40465134450"
	first := r.put(t, file{"crash", image})
	if first.Key != "v1/crash/"+id+"/crash" || first.CodeID != strings.ToLower(id[:32]) || first.Format != "macho" || first.Arch != "x86_64" || !first.HasRules || first.HasDebugInfo {
		t.Errorf("image: %+v", first)
	}
	r.work(t)
	if d := r.derived(t, id, metadb.Symcache); d.Rank != metadb.Poor || !strings.Contains(d.Reason, "other files") {
		t.Errorf("names of the image: %+v", d)
	}
	both := r.put(t, file{"crash", universal(other, dsym)})
	if both.Key != "v1/crash/"+otherID+"/crash.dbg" || len(both.Others) != 1 || both.Others[0].Key != "v1/crash/"+id+"/crash.dbg" || both.Others[0].Size != int64(len(dsym)) || !both.Others[0].HasDebugInfo {
		t.Errorf("universal file: %+v", both)
	}
	r.work(t)
	if d := r.derived(t, id, metadb.Symcache); d.Rank != metadb.Best || d.Source != both.Others[0].Key {
		t.Errorf("names: %+v", d)
	}
	if d := r.derived(t, id, metadb.Cficache); d.Rank != metadb.Best || d.Source != first.Key {
		t.Errorf("rules: %+v", d)
	}
	if d := r.derived(t, otherID, metadb.Symcache); d.Rank != metadb.Best {
		t.Errorf("names of the other: %+v", d)
	}
	if again := r.put(t, file{"crash", universal(other, dsym)}); again.Status != "exists" || again.Others[0].Status != "exists" {
		t.Errorf("again: %+v", again)
	}
	for path, status := range map[string]int{"/crash/" + id + "/crash": 200, "/crash/" + id + "/crash.dbg": 200, "/crash/" + otherID + "/crash.dbg": 200, "/crash/" + strings.ToLower(id[:32]) + "/crash": 200} {
		if res, _ := r.do(t, "GET", path, nil); res.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, status)
		}
	}
	r.refuse(t, errs.Corrupt, file{"x", image[:20]}, symstore.PutInfo{})
	r.refuse(t, errs.Invalid, file{"x", universal(dsym, other)}, symstore.PutInfo{DebugID: "11111111111111111111111111111111"})
	r.refuse(t, errs.Unsupported, file{"x", universal(universal(dsym))}, symstore.PutInfo{})
	r.refuse(t, errs.Corrupt, file{"x", universal(dsym)[:1000]}, symstore.PutInfo{})
}
