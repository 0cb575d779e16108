package config_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"salvage/config"
	"salvage/config/configtest"
)

// documented has one of everything that a reference shows.
type documented struct {
	listen, note, lines string
	wait                time.Duration
	storage             storage
}

func (d *documented) Options(s *config.Spec) {
	config.Var(s, &d.listen, "listen", config.Choice(config.Addr, ":80", ":81"), config.Default(":80"), config.Short("l"), config.Doc("Where to listen,\n<a|b>."))
	config.Var(s, &d.wait, "wait", config.Duration, config.Example("1m"), config.Alt("pause"), config.Deprecated("root:old.wait"))
	config.Var(s, &d.note, "note", config.String, config.Default(" 'x' "), config.Doc("Note."))
	config.Var(s, &d.lines, "lines", config.String, config.Default("a\nb"))
	config.Var(s, new(bool), "json", config.Bool, config.FlagOnly(), config.Default("no"))
	s.Group("storage", component(func(s *config.Spec) {
		config.Choose(s, &d.storage, "kind", map[string]storage{"bucket": &secretBucket{}, "folder": &folder{}}, config.Default("folder"))
	}))
}

type secretBucket struct{ key string }

func (b *secretBucket) where() string { return "" }
func (b *secretBucket) Options(s *config.Spec) {
	config.Var(s, &b.key, "key", config.String, config.Secret(), config.Doc("Key."))
}

func TestReferenceMarkdown(t *testing.T) {
	var b strings.Builder
	if err := config.WriteMarkdown(&b, &documented{}, "S_"); err != nil {
		t.Fatal(err)
	}
	want := "| `listen` | `S_LISTEN` | `-l`, `--listen` | address: one of :80, :81 | `:80` | Where to listen, <a\\|b>. |\n" +
		"| `wait` | `S_WAIT` | `--wait` | duration: numbers with a unit of w d h m s ms us ns; a plain number is seconds (example: `1m`) | required | Also read from `pause`. Was `old.wait`, which is deprecated. |\n" +
		"| `note` | `S_NOTE` | `--note` | string | ` 'x' ` | Note. |\n| `lines` | `S_LINES` | `--lines` | string | `a b` |  |\n" +
		"|  |  | `--json` | bool: true/false, yes/no, on/off, t/f, y/n or 1/0 | `no` |  |\n" +
		"| `storage.kind` | `S_STORAGE_KIND` | `--storage-kind` | name: one of bucket, folder | `folder` |  |\n" +
		"| `storage.bucket.key` | `S_STORAGE_BUCKET_KEY`, or `S_STORAGE_BUCKET_KEY_FILE` | `--storage-bucket-key` | string | required | If `storage.kind` is `bucket`: Key. Secret. |\n" +
		"| `storage.folder.path` | `S_STORAGE_FOLDER_PATH` | `--storage-folder-path` | string | `./data` | If `storage.kind` is `folder`: Folder. |\n"
	if _, got, _ := strings.Cut(b.String(), "|---|\n"); got != want {
		t.Errorf("WriteMarkdown:\n%s\nwant:\n%s", got, want)
	}
}

func TestReferenceJSON(t *testing.T) {
	var b strings.Builder
	if err := config.WriteJSON(&b, &documented{}, "S_"); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || len(got) != 8 {
		t.Fatalf("%d options, %v", len(got), err)
	}
	for i, want := range map[int]string{
		0: `{"default":":80","doc":"Where to listen,\n<a|b>.","flag":"listen","key":"listen","required":false,"secret":false,"short":"l","syntax":"one of :80, :81","type":"address","values":[":80",":81"],"variable":"S_LISTEN"}`,
		1: `{"alternates":["pause"],"default":"","deprecated":["old.wait"],"doc":"","example":"1m","flag":"wait","key":"wait","required":true,"secret":false,"syntax":"numbers with a unit of w d h m s ms us ns; a plain number is seconds","type":"duration","variable":"S_WAIT"}`,
		4: `{"default":"no","doc":"","flag":"json","key":"json","required":false,"secret":false,"syntax":"true/false, yes/no, on/off, t/f, y/n or 1/0","type":"bool","values":["true","false"]}`,
		6: `{"default":"","doc":"Key.","flag":"storage-bucket-key","key":"storage.bucket.key","required":true,"secret":true,"type":"string","variable":"S_STORAGE_BUCKET_KEY","when":[{"key":"storage.kind","value":"bucket"}]}`,
	} {
		var text strings.Builder
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		_ = e.Encode(got[i])
		if strings.TrimSpace(text.String()) != want {
			t.Errorf("option %d: %s\nwant %s", i, text.String(), want)
		}
	}
	b.Reset()
	if err := config.WriteJSON(&b, component(func(*config.Spec) {}), ""); err != nil || b.String() != "[]\n" {
		t.Errorf("no options: %q, %v", b.String(), err)
	}
}

func TestSampleEnv(t *testing.T) {
	var b strings.Builder
	if err := config.WriteEnv(&b, &documented{}, "S_"); err != nil {
		t.Fatal(err)
	}
	want := `# Where to listen,
# <a|b>.
# address: one of :80, :81
#S_LISTEN=:80

# duration: numbers with a unit of w d h m s ms us ns; a plain number is seconds
# Example: 1m
# Required.
S_WAIT=

# Note.
# string
#S_NOTE=" 'x' "

# string
#S_LINES="a\nb"

# name: one of bucket, folder
#S_STORAGE_KIND=folder

# Key.
# string
# Or set S_STORAGE_BUCKET_KEY_FILE to the path of a file that holds it.
# Counts only if S_STORAGE_KIND is bucket.
# Required then.
#S_STORAGE_BUCKET_KEY=

# Folder.
# string
# Counts only if S_STORAGE_KIND is folder.
#S_STORAGE_FOLDER_PATH=./data

`
	if b.String() != want {
		t.Errorf("WriteEnv:\n%s\nwant:\n%s", b.String(), want)
	}
	// The sample means what it says: with comments removed and what is required filled in, it is the defaults.
	sample := regexp.MustCompile(`(?m)^#(S_)`).ReplaceAllString(b.String(), "$1")
	sample = strings.Replace(strings.Replace(sample, "S_WAIT=", "S_WAIT=1m", 1), `"a\nb"`, "", 1)
	src, err := config.EnvFile("S_", writeFile(t, sample))
	if err != nil {
		t.Fatal(err)
	}
	var fromSample, defaults documented
	if _, err := config.Load(&fromSample, config.LoadOptions{Sources: []config.Source{src}}); err != nil {
		t.Fatal(err)
	}
	configtest.Load(t, &defaults, map[string]string{"wait": "1m"})
	if fromSample.listen != defaults.listen || fromSample.wait != defaults.wait || fromSample.note != defaults.note ||
		fromSample.lines != defaults.lines || fromSample.storage.where() != defaults.storage.where() {
		t.Errorf("the sample gives %+v, the defaults are %+v", fromSample, defaults)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestReferenceWriteErrors(t *testing.T) {
	w := failingWriter{}
	r := configtest.Load(t, &folder{}, nil)
	for i, err := range []error{
		config.WriteMarkdown(w, &folder{}, ""), config.WriteJSON(w, &folder{}, ""), config.WriteEnv(w, &folder{}, ""), r.Runtime(w),
	} {
		if err != os.ErrClosed {
			t.Errorf("writer %d: %v", i, err)
		}
	}
}
