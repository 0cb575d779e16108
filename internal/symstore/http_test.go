package symstore_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/debugtest"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/symstore"
)

// do sends a request and returns the answer with its body; redirects are not followed.
func (r *rig) do(t testing.TB, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, r.server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stream is a body without a length.
type stream struct{ io.Reader }

func TestServePut(t *testing.T) {
	t.Parallel()
	data := sym(id1, "p", funcs)
	r := newRig(t, nil)
	want := func(when string, status int, result string, res *http.Response, text string) {
		t.Helper()
		var got struct{ Status, Key, Error string }
		if err := json.Unmarshal([]byte(text), &got); err != nil || res.StatusCode != status || got.Status+got.Error != result {
			t.Errorf("%s: %d %s, want %d %s", when, res.StatusCode, text, status, result)
		}
		if got.Key != "" && got.Key != "v1/p/"+id1+"/p.sym" {
			t.Errorf("%s: key %s", when, got.Key)
		}
	}
	put := func(when string, status int, result, path string, body io.Reader, header ...string) {
		t.Helper()
		res, text := r.do(t, "PUT", path, body, header...)
		want(when, status, result, res, text)
	}
	token := []string{"Auth-Token", r.token}
	put("new", 201, "stored", "/symbols/p.sym", bytes.NewReader(data), token...)
	put("the same, chunked, with a comment", 200, "exists", "/symbols/p.sym", stream{bytes.NewReader(data)}, "Auth-Token", r.token+"-from-here")
	put("gzip by header", 200, "exists", "/symbols/p.sym", bytes.NewReader(gzipped(t, data)), append(token, "Content-Encoding", "gzip")...)
	put("gzip by name", 200, "exists", "/symbols/p.sym.gz", bytes.NewReader(gzipped(t, data)), token...)
	put("other", 201, "superseded", "/symbols/a%2Fb%20c", bytes.NewReader(append(slices.Clone(data), "PUBLIC 1 0 x\n"...)), token...)
	put("poorer", 200, "kept", "/symbols/x", bytes.NewReader(sym(id1, "p", "PUBLIC 1 0 x")), token...)
	put("brotli", 415, `The content encoding "br" is not understood, only gzip.`, "/symbols/x", bytes.NewReader(data), append(token, "Content-Encoding", "br")...)
	put("claimed", 200, "kept", "/symbols/x?debug_id="+id1+"&debug_file=p", bytes.NewReader(sym(id1, "p", "PUBLIC 1 0 x")), token...)
	put("claimed to be another", 400, `The debug id of the file is `+id1+`, but it was sent as "AB".`, "/symbols/x?debug_id=AB", bytes.NewReader(data), token...)
	put("nobody", 403, "Log in, or send a token with the permission upload_symbols in the header Auth-Token.", "/symbols/x", bytes.NewReader(make([]byte, 1<<20)))
	put("who?", 403, "This token is not known.", "/symbols/x", bytes.NewReader(make([]byte, 1<<20)), "Auth-Token", "x")
	_, viewer, err := r.cfg.Gate.Create(t.Context(), "viewer", access.ViewProtected, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	put("may not", 403, `The token "viewer" does not have the permission upload_symbols.`, "/symbols/x", bytes.NewReader(data), "Auth-Token", viewer)
	put("cut off", 422, "The file is compressed, but damaged or cut off.", "/symbols/x", bytes.NewReader(gzipped(t, data)[:40]), token...)
	if rows := r.rows(t, id1); len(rows) != 1 || rows[0].Uploader != "ci" {
		t.Errorf("%+v", rows)
	}

	curl := debugtest.Program(t, "curl", "curl")
	path := filepath.Join(t.TempDir(), "p.sym")
	if err := os.WriteFile(path, sym(id1, "p", funcs, "PUBLIC 1 0 y"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, args := range [][]string{{r.server.URL + "/symbols/"}, {"-H", "Transfer-Encoding: chunked", r.server.URL + "/symbols/"}} {
		text, err := exec.Command(curl, append([]string{"-sS", "-w", "\n%{http_code}", "-H", "Auth-Token: " + r.token, "-T", path}, args...)...).Output()
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if want := []string{"201", "200"}[i]; err != nil || lines[len(lines)-1] != want {
			t.Errorf("curl: %s, %v", text, err)
		}
	}
}

// What is larger than allowed, or becomes so by inflating, is refused and leaves nothing behind.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, map[string]string{"max_file": "3MiB", "max_inflation": "100"})
	big := file{"big", append(sym(id1, "p", funcs), make([]byte, 3<<20)...)}
	if got := r.refuse(t, errs.TooLarge, big, symstore.PutInfo{}); got != "The file is larger than the limit of 3145728 bytes." {
		t.Error(got)
	}
	bomb := file{"bomb", gzipped(t, append(sym(id1, "p", funcs), make([]byte, 2<<20)...))}
	if got := r.refuse(t, errs.TooLarge, bomb, symstore.PutInfo{}); got != "The file becomes more than 100 times larger by inflating." {
		t.Error(got)
	}
	noise := make([]byte, 0, 4<<20) // inflates to too much at a small ratio
	for i := range 1 << 18 {
		noise = fmt.Appendf(noise, "PUBLIC %x 0 f%d\n", i, i)
	}
	if got := r.refuse(t, errs.TooLarge, file{"z", gzipped(t, append(sym(id1, "p", funcs), noise...))}, symstore.PutInfo{}); got != "The file is larger than the limit of 3145728 bytes." {
		t.Error(got)
	}
	// Empty members of gzip are work without a byte that comes of it.
	members := bytes.Repeat(gzipped(t, nil), 1<<18)
	if got := r.refuse(t, errs.TooLarge, file{"z", members}, symstore.PutInfo{}); got != "The file is larger than the limit of 3145728 bytes." {
		t.Error(got)
	}
	// Small files may have any ratio, and exactly the limit is allowed.
	ok := append(sym(id1, "p", funcs), bytes.Repeat([]byte("\n"), 1<<19)...)
	r.put(t, file{"z", gzipped(t, ok)})
	exact := sym(id1, "p", funcs, "PUBLIC 1 0 x")
	r.put(t, file{"z", append(exact, bytes.Repeat([]byte("\n"), 3<<20-len(exact))...)})

	r = newRig(t, map[string]string{"max_body": "1KiB"})
	if res, text := r.do(t, "PUT", "/symbols/x", bytes.NewReader(big.data), "Auth-Token", r.token); res.StatusCode != 413 {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if res, text := r.do(t, "PUT", "/symbols/x", stream{bytes.NewReader(big.data)}, "Auth-Token", r.token); res.StatusCode != 413 {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	if keys := r.keys(t); len(keys) > 0 {
		t.Error(keys)
	}
}

// archive makes a zip of files.
func archive(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, 9) })
	for _, f := range files {
		e, err := w.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate})
		if err == nil && !strings.HasSuffix(f.name, "/") {
			_, err = e.Write(f.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// post sends an archive as a form with one file, as Tecken's clients do.
func (r *rig) post(t testing.TB, field string, data []byte, header ...string) (int, string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	if err := form.WriteField("try", "1"); err != nil {
		t.Fatal(err)
	}
	w, err := form.CreateFormFile(field, "whatever")
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if header == nil {
		header = []string{"Auth-Token", r.token}
	}
	res, text := r.do(t, "POST", "/upload/", &b, append(header, "Content-Type", form.FormDataContentType())...)
	return res.StatusCode, text
}

func TestArchive(t *testing.T) {
	t.Parallel()
	id2 := "4C4C4400555531444A1DCF2E53B5A6C20"
	p, q := sym(id1, "p.so", funcs), sym(id2, "q.pdb", funcs)
	files := []file{
		{"p.so/", nil}, {"p.so/" + id1 + "/", nil}, {"p.so/" + id1 + "/p.so.sym", p}, {"q.pdb/" + strings.ToLower(id2) + "/q.sym", q},
		{"firefox-67-Symbols.txt", []byte("p.so")}, {"a/.DS_Store", []byte("x")}, {"x.pdb/AB12/x.pd_", []byte("MSCF")},
	}
	r := newRig(t, nil)
	status, text := r.post(t, "symbols.zip", archive(t, files...))
	var got struct{ Upload map[string]any }
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	u := got.Upload
	for _, k := range []string{"id", "size"} {
		if n, _ := u[k].(float64); n < 1 {
			t.Errorf("%s is %v", k, u[k])
		}
		delete(u, k)
	}
	for _, k := range []string{"created_at", "completed_at"} {
		if at, err := time.Parse("2006-01-02T15:04:05.000Z", u[k].(string)); err != nil || at.Year() != 2023 {
			t.Error(u[k], err)
		}
		delete(u, k)
	}
	refused := `[{"error":"This is not a file that symbols are read from: an ELF, PE or Mach-O file, a PDB, a Breakpad symbol file or a mapping of ProGuard or R8.","key":"x.pdb/AB12/x.pd_"}]`
	want := `{"bucket":"","download_url":null,"filename":"symbols.zip","redirect_urls":[],"refused_keys":` + refused + `,"skipped_keys":[],"try_symbols":false,"user":"ci"}`
	if text, _ := json.Marshal(u); string(text) != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	keys := []string{"v1/p.so/" + id1 + "/p.so.sym", "v1/q.pdb/" + id2 + "/q.sym"}
	if got := r.keys(t); !slices.Equal(got, keys) {
		t.Errorf("%q", got)
	}
	// Again, with one more that lies flat.
	status, text = r.post(t, "SYMBOLS.ZIP", archive(t, append(files, file{"r.sym", sym("4C4C4400555531444A1DCF2E53B5A6C30", "", funcs)})...))
	if skipped := `"skipped_keys":["p.so/` + id1 + `/p.so.sym","q.pdb/` + strings.ToLower(id2) + `/q.sym"]`; status != 201 || !strings.Contains(text, skipped) {
		t.Errorf("%d %s", status, text)
	}
	if got := r.keys(t); !slices.Equal(got, append(keys, "v1/r/4C4C4400555531444A1DCF2E53B5A6C30/r.sym")) {
		t.Errorf("%q", got)
	}
	// The same file twice counts once.
	r2 := newRig(t, nil)
	if status, text := r2.post(t, "a.zip", archive(t, files[2], files[2])); status != 201 || !strings.Contains(text, `"skipped_keys":[]`) {
		t.Errorf("%d %s", status, text)
	}
	// Without any symbol file it is no error, as in Tecken.
	if status, text := r.post(t, "a.zip", archive(t, file{"x-symbols.txt", nil})); status != 201 {
		t.Errorf("%d %s", status, text)
	}
}

// What is wrong with an archive, in Tecken's words where it has some.
func TestArchiveRefused(t *testing.T) {
	t.Parallel()
	good := file{"p.so/" + id1 + "/p.so.sym", sym(id1, "p.so", funcs)}
	pattern := func(name string) string {
		return "Unrecognized file pattern. Should only be <module>/<hex>/<file> or <name>-symbols.txt and nothing else. (First unrecognized pattern was '" + name + "')"
	}
	encrypted := archive(t, good)
	for _, magic := range []string{"PK\x03\x04", "PK\x01\x02"} { // both headers have flags
		at := bytes.Index(encrypted, []byte(magic)) + len(magic) + 2
		if magic == "PK\x01\x02" {
			at += 2
		}
		encrypted[at] |= 1
	}
	damaged := archive(t, good)
	damaged[60+len(good.name)] ^= 0xff
	method := archive(t, good)
	for _, magic := range []string{"PK\x01\x02"} {
		binary.LittleEndian.PutUint16(method[bytes.Index(method, []byte(magic))+10:], 77)
	}
	many := make([]file, 21)
	for i := range many {
		many[i] = file{fmt.Sprintf("%d-symbols.txt", i), nil}
	}
	zeros := make([]byte, 3<<20)
	r := newRig(t, map[string]string{"max_entries": "20", "max_archive": "5MiB", "max_file": "4MiB", "max_inflation": "5"})
	for _, tt := range []struct {
		name   string
		field  string
		data   []byte
		status int
		want   string
	}{
		{"extension", "symbols.rar", archive(t, good), 400, `Unrecognized archive file extension ".rar"`},
		{"no extension", "symbols", archive(t, good), 400, `Unrecognized archive file extension ""`},
		{"no zip", "a.zip", []byte("PK what is this"), 400, "File is not a zip file"},
		{"empty", "a.zip", nil, 400, "File is not a zip file"},
		{"two sizes", "a.zip", archive(t, file{"a.sym", make([]byte, 39)}, file{"a.sym", make([]byte, 24)}), 400,
			"The zipfile buffer contains two files both called a.sym and they have difference sizes (24 != 39)"},
		{"two levels", "a.zip", archive(t, good, file{"a/b", nil}), 400, pattern("a/b")},
		{"no hex", "a.zip", archive(t, good, file{"a/xyz/b", nil}), 400, pattern("a/xyz/b")},
		{"four levels", "a.zip", archive(t, good, file{"a/AB/b/c", nil}), 400, pattern("a/AB/b/c")},
		{"dots", "a.zip", archive(t, good, file{"../AB/c", nil}), 400, pattern("../AB/c")},
		{"dots at the end", "a.zip", archive(t, good, file{"a/AB/..", nil}), 400, pattern("a/AB/..")},
		{"root", "a.zip", archive(t, good, file{"/AB/c", nil}), 400, pattern("/AB/c")},
		{"backslash", "a.zip", archive(t, good, file{`..\x`, nil}), 400, pattern(`..\x`)},
		{"NUL", "a.zip", archive(t, good, file{"a\x00b", nil}), 400, pattern("a\x00b")},
		{"not UTF-8", "a.zip", archive(t, good, file{"a\xffb", nil}), 400, pattern("a\ufffdb")},
		{"folder with dots", "a.zip", archive(t, good, file{"../", nil}), 400, pattern("../")},
		{"many", "a.zip", archive(t, many...), 413, "The archive has more than 20 files."},
		{"encrypted", "a.zip", encrypted, 400, good.name + ": The file is encrypted in the archive, or compressed in a way that is not understood."},
		{"method", "a.zip", method, 400, good.name + ": The file is encrypted in the archive, or compressed in a way that is not understood."},
		{"damaged", "a.zip", damaged, 400, "The zip file is damaged."},
		{"claimed id", "a.zip", archive(t, file{"p/AB/p.sym", good.data}), 400, `p/AB/p.sym: The debug id of the file is ` + id1 + `, but it was sent as "AB".`},
		{"bomb", "a.zip", archive(t, file{"a.sym", zeros}), 413, "The file is larger than the limit of "},
		{"gzip in it", "a.zip", archive(t, file{"a.sym", gzipped(t, zeros)}), 413, "The file is larger than the limit of "},
	} {
		status, text := r.post(t, tt.field, tt.data)
		var got struct{ Error string }
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != tt.status || !strings.HasPrefix(got.Error, tt.want) {
			t.Errorf("%s: %d %s\nwant %s", tt.name, status, text, tt.want)
		}
		if keys := r.keys(t); len(keys) > 0 {
			t.Fatalf("%s: stored %q", tt.name, keys)
		}
	}

	// Together they are too much, though none is alone.
	r = newRig(t, map[string]string{"max_archive": "5MiB", "max_inflation": "100000"})
	if status, text := r.post(t, "a.zip", archive(t, file{"a.sym", zeros}, file{"b.sym", zeros})); status != 413 {
		t.Errorf("%d %s", status, text)
	}
	// A list of names that is longer than any real one is not read into memory.
	r = newRig(t, map[string]string{"max_entries": "40"})
	long := make([]file, 40)
	for i := range long {
		long[i] = file{strings.Repeat("x", 60000) + fmt.Sprint(i), nil}
	}
	if status, text := r.post(t, "a.zip", archive(t, long...)); status != 413 {
		t.Errorf("%d %.200s", status, text)
	}

	for _, tt := range []struct {
		token  []string
		status int
		want   string
	}{
		{[]string{"Auth-Token", ""}, 403, "This requires an Auth-Token to authenticate the request"},
		{[]string{"Auth-Token", "0123"}, 403, "API Token not matched"},
		{[]string{"Auth-Token", viewer(t, r)}, 403, "Forbidden"},
		{[]string{"Auth-Token", expired(t, r)}, 403, "This token expired on 2023-11-14."},
	} {
		status, text := r.post(t, "a.zip", append(archive(t, good), make([]byte, 1<<20)...), tt.token...)
		if status != tt.status || !strings.Contains(text, `{"error":"`+tt.want+`"`) {
			t.Errorf("%d %s, want %s", status, text, tt.want)
		}
	}
	res, text := r.do(t, "POST", "/upload/", strings.NewReader("url=https://example.org/a.zip"), "Auth-Token", r.token, "Content-Type", "application/x-www-form-urlencoded")
	if res.StatusCode != 400 || !strings.Contains(text, "Must be multipart form data with at least one file") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	for body, want := range map[string]string{
		"--b\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\nhttps://x\r\n--b--\r\n":   "Uploads by URL are not taken here.",
		"--b\r\nContent-Disposition: form-data; name=\"try\"\r\n\r\n1\r\n--b--\r\n":           "Must be multipart form data with at least one file",
		"--b\r\nContent-Disposition: form-data; name=\"a.zip\"; filename=\"a.zip\"\r\n\r\nPK": "The form is malformed or cut off.",
		"what": "The form is malformed or cut off.",
	} {
		res, text := r.do(t, "POST", "/upload", strings.NewReader(body), "Auth-Token", r.token, "Content-Type", "multipart/form-data; boundary=b")
		if res.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%q: %d %s", body, res.StatusCode, text)
		}
	}
}

// A client that still sends would miss the refusal, so its body is read; not if it waits for the answer.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, target := range []string{"/symbols/x", "/upload/"} {
		for expect, want := range map[string]int{"": 0, "100-continue": 1 << 20} {
			body := bytes.NewReader(make([]byte, 1<<20))
			req := httptest.NewRequest(map[bool]string{true: "PUT", false: "POST"}[target == "/symbols/x"], target, body)
			if expect != "" {
				req.Header.Set("Expect", expect)
			}
			rec := httptest.NewRecorder()
			r.server.Config.Handler.ServeHTTP(rec, req)
			if rec.Code != 403 || body.Len() != want {
				t.Errorf("%s: %d, %d bytes left, want %d", target, rec.Code, body.Len(), want)
			}
		}
	}
}

func viewer(t *testing.T, r *rig) string {
	t.Helper()
	_, secret, err := r.cfg.Gate.Create(t.Context(), "viewer", access.ViewProtected, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func expired(t *testing.T, r *rig) string {
	t.Helper()
	_, secret, err := r.cfg.Gate.Create(t.Context(), "old", access.UploadSymbols, r.cfg.Now().Add(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Now()
	r.cfg.Now()
	return secret
}

// A failure of storage in the middle of an archive is ours, and the next try goes on behind it.
func TestArchiveUnavailable(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	full := &filling{Store: r.Blobs, left: 1}
	r.Blobs = full
	files := archive(t, file{"a.sym", sym(id1, "a", funcs)}, file{"b.sym", sym(id1, "b", funcs)})
	if status, text := r.post(t, "a.zip", files); status != 503 || !strings.Contains(text, `"error"`) {
		t.Errorf("%d %s", status, text)
	}
	full.left = 9
	if status, text := r.post(t, "a.zip", files); status != 201 || !strings.Contains(text, `"skipped_keys":["a.sym"]`) {
		t.Errorf("%d %s", status, text)
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	r := newRig(t, nil)
	for _, f := range []file{a.stripped, a.debug, a.sym} {
		r.put(t, f)
	}
	pe := sym(id1, "a b.pdb", "INFO CODE_ID 5A1F00112233 a.dll", funcs)
	r.put(t, file{"x", pe})
	lower := strings.ToLower(a.id)
	for _, tt := range []struct {
		path string
		want []byte
	}{
		{"/crashapp/" + a.id + "/crashapp", a.stripped.data},
		{"/crashapp/" + lower + "/crashapp.dbg", a.debug.data},
		{"/crashapp/" + a.id + "/crashapp.debug", a.debug.data},
		{"/any/" + a.id + "/thing.dbg", a.debug.data},
		{"/crashapp/" + a.id + "/crashapp.sym?code_file=x&code_id=y", a.sym.data},
		{"/any/" + a.id + "/thing.sym", a.sym.data},
		{"/crashapp/" + a.code + "/crashapp", a.stripped.data},
		{"/crashapp/" + strings.ToUpper(a.code) + "/crashapp", a.stripped.data},
		{"/a%20b.pdb/" + id1 + "/a%20b.sym", pe},
		{"/a%2Fb/" + id1 + "/%C3%A9.SYM", pe},
	} {
		for _, prefix := range []string{"", "/symbols", "/try"} {
			for _, method := range []string{"GET", "HEAD"} {
				res, text := r.do(t, method, prefix+tt.path, nil)
				h := res.Header
				if res.StatusCode != 200 || h.Get("Content-Length") != fmt.Sprint(len(tt.want)) || h.Get("ETag") != `"`+hash(tt.want)+`"` || h.Get("Access-Control-Allow-Origin") != "*" ||
					!strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename=") || method == "GET" && text != string(tt.want) {
					t.Errorf("%s %s%s: %d %v, %d bytes", method, prefix, tt.path, res.StatusCode, h, len(text))
				}
				if kind := h.Get("Content-Type"); (kind == "text/plain; charset=utf-8") != bytes.HasPrefix(tt.want, []byte("MODULE")) {
					t.Errorf("%s: %s", tt.path, kind)
				}
				if res, text := r.do(t, method, prefix+tt.path, nil, "If-None-Match", `"x", W/`+h.Get("ETag")); res.StatusCode != 304 || text != "" {
					t.Errorf("%s: %d %s", tt.path, res.StatusCode, text)
				}
			}
		}
	}
	// A .sym by code id: rust-minidump takes the last three parts of where it is sent.
	for _, prefix := range []string{"/", "/symbols/", "/try/"} {
		for path, to := range map[string]string{
			"a.dll/5A1F00112233/a.sym?x=1": "a%20b.pdb/" + id1 + "/a%20b.sym?x=1", "a.dll/5a1f00112233/a.sym": "a%20b.pdb/" + id1 + "/a%20b.sym",
			"crashapp/" + a.code + "/c.sym": "crashapp/" + a.id + "/crashapp.sym",
		} {
			for _, method := range []string{"GET", "HEAD"} {
				if res, _ := r.do(t, method, prefix+path, nil); res.StatusCode != 302 || res.Header.Get("Location") != prefix+to {
					t.Errorf("%s: %d %s", path, res.StatusCode, res.Header.Get("Location"))
				}
			}
		}
	}
	for _, path := range []string{
		"/crashapp/" + a.id + "1/crashapp.sym", "/a.dll/" + a.id + "/a.dl_", "/crashapp/" + a.id + "/file.ptr", "/crashapp/" + strings.Repeat("0", 33) + "/crashapp.sym",
		"/crashapp/" + a.id + "/crashapp.dbg.gz", "/a%20b.pdb/" + id1 + "/a%20b.pdb", "/a.dll/5A1F00112233/a.dll", "/a/5A1F/b.sym",
	} {
		for _, prefix := range []string{"", "/symbols", "/try"} {
			res, text := r.do(t, "GET", prefix+path, nil)
			if res.StatusCode != 404 || text != "Symbol Not Found" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s%s: %d %s", prefix, path, res.StatusCode, text)
			}
		}
	}
	for _, path := range []string{"/a/xyz/b.sym", "/a/b", "/crashapp/" + a.id + "/", "/x/crashapp/" + a.id + "/crashapp.sym", "/a/-/b", "/"} {
		if res, text := r.do(t, "GET", path, nil); res.StatusCode != 404 || strings.Contains(text, "Symbol") {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
	if res, _ := r.do(t, "DELETE", "/symbols/crashapp/"+a.id+"/crashapp", nil); res.StatusCode != 405 {
		t.Error(res.Status)
	}
	// Of several images the one of that name; of none of that name the newest.
	r.put(t, file{"other", append(slices.Clone(a.stripped.data), 0)})
	for name, size := range map[string]int{"crashapp": len(a.stripped.data), "other": len(a.stripped.data) + 1, "third": len(a.stripped.data) + 1} {
		if res, _ := r.do(t, "HEAD", "/"+name+"/"+a.id+"/"+name, nil); res.ContentLength != int64(size) {
			t.Errorf("%s: %d bytes", name, res.ContentLength)
		}
	}
	// Lost in storage.
	if err := r.cfg.Blobs.Delete(t.Context(), "v1/a b.pdb/"+id1+"/a b.sym"); err != nil {
		t.Fatal(err)
	}
	if res, text := r.do(t, "GET", "/a/"+id1+"/a.sym", nil); res.StatusCode != 404 || text != "Symbol Not Found" || res.Header.Get("ETag") != "" {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	r.rec.Counter("symstore.download").Tags("result:redirect").Value(18)
}

// minidump-stackwalk reads the same from here as from a folder.
func TestMinidumpStackwalk(t *testing.T) {
	t.Parallel()
	walker := debugtest.Program(t, "minidump_stackwalk", "minidump-stackwalk")
	folder := debugtest.Path(t, "rust-minidump/symbols")
	r := newRig(t, nil)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".sym") {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			r.put(t, file{filepath.Base(path), data})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	walk := func(args ...string) string {
		t.Helper()
		args = append([]string{"--brief", "--human", debugtest.Path(t, "rust-minidump/test.dmp")}, args...)
		out, err := exec.Command(walker, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	want := walk(folder)
	if !strings.Contains(want, "test_app.cc") {
		t.Fatalf("no symbols in\n%s", want)
	}
	for _, base := range []string{"/", "/symbols/", "/try/"} {
		if got := walk("--symbols-url", r.server.URL+base, "--symbols-cache", t.TempDir(), "--symbols-tmp", t.TempDir()); got != want {
			t.Errorf("from %s:\n%s\nfrom a folder:\n%s", base, got, want)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	first := r.put(t, file{"p", sym(id1, "p.pdb", "INFO CODE_ID 5A1F p.dll", funcs)})
	second := r.put(t, file{"p", sym(id1, "q.so", funcs)})
	list := func(query string) (keys []string) {
		t.Helper()
		res, text := r.do(t, "GET", "/api/symbols/"+query, nil)
		var got struct{ Symbols []map[string]any }
		if err := json.Unmarshal([]byte(text), &got); err != nil || res.StatusCode != 200 || got.Symbols == nil {
			t.Fatalf("%s: %d %s", query, res.StatusCode, text)
		}
		for _, s := range got.Symbols {
			keys = append(keys, s["key"].(string))
		}
		return keys
	}
	for query, want := range map[string][]string{
		"": {second.Key, first.Key}, "?limit=1": {second.Key}, "?q=P.D": {first.Key}, "?q=5a1F": {first.Key}, "?q=" + id1: {second.Key, first.Key}, "?q=%00%ff": {},
	} {
		if got := list(query); !slices.Equal(got, want) {
			t.Errorf("%s: %q", query, got)
		}
	}
	_, text := r.do(t, "GET", "/api/symbols/?q=p.pdb", nil)
	want := `{"symbols":[{"key":"` + first.Key + `","debug_file":"p.pdb","debug_id":"` + id1 + `","code_file":"p.dll","code_id":"5a1f","name":"p.sym","format":"breakpad","arch":"x86_64",` +
		`"size":` + fmt.Sprint(first.Size) + `,"sha256":"` + first.SHA256 + `","uploaded":"2023-11-14T22:13:2`
	if !strings.HasPrefix(text, want) {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	for _, limit := range []string{"0", "1001", "x", "-1"} {
		if res, text := r.do(t, "GET", "/api/symbols/?limit="+limit, nil); res.StatusCode != 400 || !strings.Contains(text, "limit") {
			t.Errorf("%s: %d %s", limit, res.StatusCode, text)
		}
	}
	// Not for everybody who comes through a proxy; downloads are.
	if res, _ := r.do(t, "GET", "/api/symbols/", nil, "X-Forwarded-For", "1.2.3.4"); res.StatusCode != 403 {
		t.Error(res.Status)
	}
	if res, _ := r.do(t, "GET", "/symbols/p/"+id1+"/p.sym", nil, "X-Forwarded-For", "1.2.3.4"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

// Whatever comes, nothing panics, and what is kept has a key of four parts.
func FuzzPut(f *testing.F) {
	a := crashapp(f)
	f.Add("crashapp.debug", "x", a.sym.data)
	f.Add("../a", "", a.stripped.data[:4096])
	f.Add("p", "q", gzipped(f, sym(id1, "../../p\\..", funcs, "STACK CFI INIT 1 1 .cfa: $rsp")))
	for _, name := range []string{"tiny-gcc-dwarf5.elf", "tiny-gcc-x86.elf", "tiny-gcc-unwind.elf"} {
		data, err := os.ReadFile("../../debug/testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, "", data)
	}
	r := newRig(f, map[string]string{"max_file": "1MiB"})
	f.Fuzz(func(t *testing.T, name, debugFile string, data []byte) {
		res, err := r.Put(t.Context(), bytes.NewReader(data), symstore.PutInfo{Name: name, DebugFile: debugFile})
		if err != nil {
			if k := errs.KindOf(err); k == errs.Internal || k == errs.Unavailable {
				t.Fatal(err)
			}
			return
		}
		if parts := strings.Split(res.Key, "/"); len(parts) != 4 || parts[1] != res.DebugFile || parts[2] != res.DebugID || parts[3] != res.Name || blob.CheckKey(res.Key) != nil {
			t.Fatalf("%+v", res)
		}
		r.work(t)
		for _, k := range []metadb.Kind{metadb.Symcache, metadb.Cficache} {
			if d := r.derived(t, res.DebugID, k); d.Rank == metadb.None && d.Reason == "" {
				t.Fatalf("%+v", d)
			}
		}
	})
}

// filling is a store that is full after so many objects.
type filling struct {
	blob.Store
	left int
}

func (f *filling) Create(ctx context.Context, key string) (blob.Writer, error) {
	if f.left--; f.left < 0 {
		return nil, errs.Unavailable
	}
	return f.Store.Create(ctx, key)
}
