package debugtest

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// handler is Crashpad's, as Debian's chromium has it.
const handler = "/usr/lib/chromium/chrome_crashpad_handler"

// smallStack is the argument of prlimit that makes stacks overflow after some 2,000 frames: gdb takes its
// time over each.
const smallStack = "--stack=1048576"

// Crash runs crashapp, or one of examples/stacks, in a mode, and returns the minidump that Crashpad wrote and what
// was printed. A debugger is the start of a command line that the program's is put behind; it must leave the program
// to its crash.
func Crash(t testing.TB, app, mode string, debugger ...string) (dump []byte, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	db := database(t, false)
	args := slices.Concat([]string{smallStack}, debugger, crashArgs(app, mode, db, "http://127.0.0.1:9/submit"))
	cmd := exec.CommandContext(ctx, Program(t, "crashpad", "prlimit"), args...)
	cmd.Env = []string{}
	text, err := cmd.CombinedOutput()
	if (err == nil) != (debugger != nil) {
		t.Fatalf("%s %s: %v\n%s", app, mode, err, text)
	}
	dumps, err := filepath.Glob(filepath.Join(db, "*", "*.dmp"))
	if err != nil || len(dumps) != 1 {
		t.Fatalf("%d dumps in %s: %v\n%s", len(dumps), db, err, text)
	}
	data, err := os.ReadFile(dumps[0])
	if err != nil {
		t.Fatal(err)
	}
	return data, string(text)
}

// CrashAndUpload runs crashapp in a mode and waits until Crashpad's handler has sent its report, annotated
// as crashapp 1.0, to a URL.
func CrashAndUpload(t testing.TB, app, mode, url string) {
	t.Helper()
	db := database(t, true)
	args := crashArgs(app, mode, db, url)
	text, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err == nil {
		t.Fatalf("crashapp did not crash\n%s", text)
	}
	for range 600 { // the handler uploads in its own time, and another program's progress can only be polled
		done, err := filepath.Glob(filepath.Join(db, "completed", "*.dmp"))
		if err != nil {
			t.Fatal(err)
		}
		if len(done) == 1 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the handler did not upload\n%s", text)
}

// database makes a Crashpad database. Uploads is whether the handler may send what it writes.
func database(t testing.TB, uploads bool) string {
	t.Helper()
	if _, err := os.Stat(handler); err != nil {
		Require(t, "crashpad", err.Error())
	}
	db := t.TempDir()
	for _, dir := range []string{"new", "pending", "completed", "attachments"} {
		if err := os.Mkdir(filepath.Join(db, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Crashpad's Settings::Data: magic, version, options, padding, last upload, client id.
	settings := make([]byte, 40)
	binary.LittleEndian.PutUint32(settings, 0x43506473)
	binary.LittleEndian.PutUint32(settings[4:], 1)
	if uploads {
		settings[8] = 1
	}
	copy(settings[24:], "salvage-test-id!")
	if err := os.WriteFile(filepath.Join(db, "settings.dat"), settings, 0o644); err != nil {
		t.Fatal(err)
	}
	return db
}

// crashArgs is the command line of a crashapp that reports into db.
func crashArgs(app, mode, db, url string) []string {
	return []string{app, mode, "--handler=" + handler, "--database=" + db, "--url=" + url, "--annotation=prod=crashapp", "--annotation=ver=1.0"}
}
