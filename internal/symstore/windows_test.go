package symstore_test

import (
	"os"
	"testing"

	"salvage/debug/object"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/symstore"
)

// TestWindows: names come of the PDB and unwind rules of the image beside it, and each is found by its own name.
func TestWindows(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	read := func(name string) file {
		data, err := os.ReadFile("../../debug/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return file{`C:\build\` + name, data}
	}
	exe, pdb := read("windows-clang.exe"), read("windows-clang.pdb")
	o, err := object.Open(pdb.data)
	if err != nil {
		t.Fatal(err)
	}
	id := o.Module.ID.Breakpad()
	image := r.put(t, exe)
	if image.Key != "v1/windows-clang.pdb/"+id+"/windows-clang.exe" || image.CodeFile != "windows-clang.exe" || image.DebugID != id || image.CodeID == "" || !image.HasRules || image.HasDebugInfo {
		t.Errorf("image: %+v", image)
	}
	r.work(t)
	if d := r.derived(t, id, metadb.Cficache); d.Rank != metadb.Best || d.Source != image.Key {
		t.Errorf("rules: %+v", d)
	}
	names := r.put(t, pdb)
	if names.Key != "v1/windows-clang.pdb/"+id+"/windows-clang.pdb" || names.CodeFile != "" || !names.HasDebugInfo {
		t.Errorf("PDB: %+v", names)
	}
	r.work(t)
	if d := r.derived(t, id, metadb.Symcache); d.Rank != metadb.Best || d.Source != names.Key {
		t.Errorf("names: %+v", d)
	}
	if d := r.derived(t, id, metadb.Cficache); d.Source != image.Key {
		t.Errorf("rules, with the PDB: %+v", d)
	}
	for path, status := range map[string]int{
		"/windows-clang.pdb/" + id + "/windows-clang.pdb":           200,
		"/windows-clang.exe/" + image.CodeID + "/windows-clang.exe": 200,
		"/windows-clang.pdb/" + id + "/windows-clang.exe":           200,
		"/windows-clang.pdb/" + id + "/windows-clang.sym":           404,
	} {
		if res, _ := r.do(t, "GET", path, nil); res.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, status)
		}
	}
	r.refuse(t, errs.Corrupt, file{"x.exe", exe.data[:100]}, symstore.PutInfo{})
}
