package web_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvage/internal/debugtest"
	"salvage/internal/errs"
	"salvage/internal/web"
)

// chromium loads a page and returns what it logged to its console.
func chromium(t *testing.T, program string, args ...string) (dom, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	base := []string{"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage", "--enable-logging=stderr", "--user-data-dir=" + t.TempDir()}
	cmd := exec.CommandContext(ctx, program, append(base, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, &stderr)
	}
	return stdout.String(), stderr.String()
}

// browserSite serves the demo under /public/… and, to somebody logged in, as it is; a page of /posted is the
// answer to a form, which a browser without a driver cannot send.
func browserSite(r *rig) (site *httptest.Server, pages map[string]string) {
	id := r.demo()
	java := r.newID(now)
	r.putProcessed(java, map[string]any{"signature": "java.lang.NullPointerException: at org.demo.Store.load(Store.kt)", "product": "Shop", "version": "3.1", "os_pretty_version": "Android 15",
		"java_exception": javaException(nil), "java_exception_raw": javaException("name of the cart is null"), "breadcrumbs": r.doc(java)["breadcrumbs"], "crash_time": 1796104867})
	waiting, parked := r.waiting("waiting"), r.waiting("parked")
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	f, _ := m.CreateFormFile("dump", "linux_inline.dmp")
	f.Write([]byte("MDMP"))
	m.Close()
	text := url.Values{"text": {"#0  linux_inline+0x161b6\n#1  libc.so.6+0x1c4507"}}.Encode()
	site = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Host = "127.0.0.1:8080"
		switch req.URL.Path {
		case "/posted/open":
			req = httptest.NewRequestWithContext(req.Context(), "POST", "/open", bytes.NewReader(form.Bytes()))
			req.Header.Set("Content-Type", m.FormDataContentType())
		case "/posted/text":
			req = httptest.NewRequestWithContext(req.Context(), "POST", "/open/text", strings.NewReader(text))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		default:
			if rest, ok := strings.CutPrefix(req.URL.Path, "/public/"); ok {
				req.URL.Path = "/" + rest
			} else {
				req.Header.Set("Auth-Token", r.admin)
			}
		}
		r.server.ServeHTTP(w, req)
	}))
	r.Cleanup(site.Close)
	return site, map[string]string{
		"home": "/", "home-filtered": "/?product=CrashApp&version=1.0&days=14", "report": "/report/" + string(id), "report-public": "/public/report/" + string(id),
		"java": "/report/" + string(java), "waiting": "/report/" + string(waiting), "parked": "/report/" + string(parked), "signature": "/signature/?" + url.Values{"signature": {"func | bar | foo | main"}}.Encode(),
		"signature-none": "/signature/?signature=none", "symbols": "/symbols", "fields": "/public/fields", "open": "/open", "walked": "/posted/open", "symbolicated": "/posted/text",
		"login": "/public/login?next=/symbols", "error": "/report/nonsense",
	}
}

// TestChromium loads every page in a browser, which must not object to anything, and whose style must apply.
// With SALVAGE_SHOTS=folder it leaves pictures there.
func TestChromium(t *testing.T) {
	program := debugtest.Program(t, "chromium", "chromium")
	r := newRig(t, nil)
	site, pages := browserSite(r)
	dir := os.Getenv("SALVAGE_SHOTS")
	for name, path := range pages {
		t.Run(name, func(t *testing.T) {
			dom, log := chromium(t, program, "--dump-dom", site.URL+path)
			for line := range strings.Lines(log) {
				if strings.Contains(line, "CONSOLE") && !strings.Contains(line, "status of 40") { // the error page's own status
					t.Errorf("the browser says: %s", line)
				}
			}
			if !strings.Contains(dom, "<h1") || strings.Count(dom, "<h1") != 1 {
				t.Errorf("%d h1 in the page", strings.Count(dom, "<h1"))
			}
			if name == "open" && !strings.Contains(dom, "droppable") {
				t.Error("the script did not run")
			}
			if dir == "" {
				return
			}
			for _, size := range []string{"1280,1600", "390,2200"} {
				if name == "report" || name == "report-public" {
					size = strings.Replace(strings.Replace(size, "1600", "3400", 1), "2200", "4600", 1)
				}
				for scheme, setting := range map[string]string{"light": "1", "dark": "0"} {
					width, _, _ := strings.Cut(size, ",")
					file := filepath.Join(dir, name+"-"+width+"-"+scheme+".png")
					chromium(t, program, "--blink-settings=preferredColorScheme="+setting, "--window-size="+size, "--screenshot="+file, site.URL+path)
				}
			}
		})
	}
}

// TestDrop drops a minidump on the form of /open in a browser and reads the page that comes of it. The test's
// script stands in the page, so the page comes without its policy.
func TestDrop(t *testing.T) {
	program := debugtest.Program(t, "chromium", "chromium")
	dump, err := os.ReadFile(debugtest.Path(t, "rust-minidump/simple-crashpad.dmp"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *web.Config) {
		c.Walk = func(_ context.Context, got []byte) (map[string]any, error) {
			if !bytes.Equal(got, dump) {
				return nil, errs.Public(errs.Invalid, "%d bytes came of %d", len(got), len(dump))
			}
			_, jsonDump, err := walked(t, got)
			return jsonDump, err
		}
	})
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/dump" {
			w.Write(dump)
			return
		}
		req.Host = "127.0.0.1:8080"
		req.Header.Set("Origin", "http://127.0.0.1:8080")
		req.Header.Set("Auth-Token", r.admin)
		answer := httptest.NewRecorder()
		r.server.ServeHTTP(answer, req)
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
		if req.Method == "GET" && req.URL.Path == "/open" {
			io.WriteString(w, `<script>addEventListener("load", async () => {
				const carried = new DataTransfer();
				carried.items.add(new File([await (await fetch("/dump")).arrayBuffer()], "x.dmp"));
				document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
			})</script>`)
		}
	}))
	t.Cleanup(site.Close)
	dom, log := chromium(t, program, "--virtual-time-budget=20000", "--dump-dom", site.URL+"/open")
	if !strings.Contains(dom, "libsystem_kernel.dylib + 0x733a") {
		t.Errorf("%s\n%.4000s", log, dom)
	}
}
