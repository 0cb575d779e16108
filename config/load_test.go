package config_test

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvage/config"
	"salvage/config/configtest"
)

// component makes a Component of a function.
type component func(s *config.Spec)

func (f component) Options(s *config.Spec) { f(s) }

func mustPanic(t *testing.T, with string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, with) {
			t.Errorf("panic: %s, want %q in it", got, with)
		}
	}()
	f()
}

type app struct {
	Port     int
	Wait     time.Duration
	Token    string
	JSON     bool
	Bucket   string
	Backends []*url.URL
	Limit    *int64
}

func (a *app) Options(s *config.Spec) {
	config.Var(s, &a.Port, "port", config.Int, config.Default("8000"), config.Short("p"), config.Doc("Port the collector listens on."),
		config.Check(func(v int) error {
			if v == 13 {
				return errors.New("must not be unlucky")
			}
			return nil
		}))
	config.Var(s, &a.Token, "token", config.Choice(config.String, "sesame", "hunter2"), config.Secret(), config.Doc("What uploads must present."))
	config.Var(s, &a.JSON, "json", config.Bool, config.Default("no"), config.FlagOnly(), config.Doc("Write JSON."))
	s.Group("crash_mover", component(func(s *config.Spec) {
		config.Var(s, &a.Wait, "wait", config.Duration, config.Default("1m"), config.Example("1h30m"), config.Doc("How long to wait.\nZero: not at all."))
		s.Group("storage", component(func(s *config.Spec) {
			config.Var(s, &a.Bucket, "bucket", config.String, config.Alt("old_bucket", "root:bucket", "root:gcs.bucket"), config.Example("my bucket"),
				config.Doc("Bucket that holds raw crashes."))
		}))
	}))
	config.Var(s, &a.Backends, "backends", config.List(config.URL), config.Default(""))
	config.Var(s, &a.Limit, "limit", config.Optional(config.Bytes), config.Default(""))
}

func TestErrorText(t *testing.T) {
	t.Setenv("SALVAGE_PORT", "80a")
	t.Setenv("SALVAGE_TOKEN", "s3cr3t")
	t.Setenv("SALVAGE_BACKENDS", "log:,localhost:8125")
	file, err := config.EnvFile("SALVAGE_", writeFile(t, "\nSALVAGE_CRASH_MOVER_WAIT=10 bananas\n"))
	if err != nil {
		t.Fatal(err)
	}
	sources := []config.Source{config.Flags(map[string]string{"json": "maybe", "limit": "-5"}), config.Environ("SALVAGE_"), file}
	_, err = config.Load(&app{}, config.LoadOptions{Sources: sources, Reference: "https://example.org/configuration"})
	want := strings.ReplaceAll(`configuration: 7 problems

SALVAGE_PORT: "80a" is not a whole number
  set in:   process environment
  expects:  int
  default:  8000
  about:    Port the collector listens on.
  fix:      export SALVAGE_PORT=8000

SALVAGE_TOKEN: the value (a secret, not shown) is not accepted
  set in:   process environment
  expects:  string: one of sesame, hunter2
  about:    What uploads must present.
  fix:      set SALVAGE_TOKEN, or SALVAGE_TOKEN_FILE to the path of a file that holds it

--json: "maybe" is not a yes or no
  set in:   command line
  expects:  bool: true/false, yes/no, on/off, t/f, y/n or 1/0
  default:  no
  about:    Write JSON.
  fix:      --json=no

SALVAGE_CRASH_MOVER_WAIT: "10 bananas" is not a duration
  set in:   <file>, line 2
  expects:  duration: numbers with a unit of w d h m s ms us ns; a plain number is seconds (example: 1h30m)
  default:  1m
  about:    How long to wait.
            Zero: not at all.
  fix:      set SALVAGE_CRASH_MOVER_WAIT to 1h30m

SALVAGE_CRASH_MOVER_STORAGE_BUCKET: required, not set
  looked in: command line, process environment, <file>
  also tried: SALVAGE_CRASH_MOVER_STORAGE_OLD_BUCKET, SALVAGE_BUCKET, SALVAGE_GCS_BUCKET
  expects:  string (example: my bucket)
  about:    Bucket that holds raw crashes.
  fix:      export SALVAGE_CRASH_MOVER_STORAGE_BUCKET='my bucket'

SALVAGE_BACKENDS: "log:,localhost:8125" has an item (number 2) that is not a URL with a scheme
  set in:   process environment
  expects:  list of URL: separated by commas; with its scheme, as https://…

--limit: "-5" is not a size
  set in:   command line
  expects:  size: bytes, or a number with a unit of kB MB GB TB PB KiB MiB GiB TiB PiB; may be empty

Configuration reference: https://example.org/configuration`, "<file>", file.Name())
	if err == nil || err.Error() != want {
		t.Errorf("Load: %v\nwant: %s", err, want)
	}
	if !errors.Is(err, config.ErrMissing) {
		t.Error("the error is no ErrMissing")
	}
	if one := (config.Errors{{Name: "A", Err: config.ErrMissing}}).Error(); !strings.HasPrefix(one, "configuration: 1 problem\n\nA: required, not set") {
		t.Errorf("one problem: %s", one)
	}
}

func TestPrecedence(t *testing.T) {
	flags, file := map[string]string{}, map[string]string{}
	env, err := config.EnvFile("S_", writeFile(t, "S_B=envfile\nS_OLD=old\nS_E=\n"))
	if err != nil {
		t.Fatal(err)
	}
	sources := []config.Source{config.Flags(flags), config.Environ("S_"), env, config.Map("file conf", file)}
	load := func() string {
		t.Helper()
		var v string
		if _, err := config.Load(component(func(s *config.Spec) {
			config.Var(s, &v, "b", config.String, config.Default("default"), config.Alt("old"))
		}), config.LoadOptions{Sources: sources}); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, step := range []struct {
		want string
		set  func()
	}{
		{"envfile", func() { file["b"] = "map" }},
		{"env", func() { t.Setenv("S_B", "env") }},
		{"flag", func() { flags["b"] = "flag" }},
		{"env", func() { flags["b"] = "" }}, // empty: not set
		{"envfile", func() { t.Setenv("S_B", "") }},
		{"map", func() { sources = append(sources[:2:2], sources[3]) }},
		{"altflag", func() { delete(file, "b"); flags["old"] = "altflag" }},
		{"map", func() { file["b"] = "map" }}, // every source for the key before any for an alternate
		{"default", func() { clear(file); clear(flags) }},
	} {
		step.set()
		if got := load(); got != step.want {
			t.Errorf("loaded %s, want %s", got, step.want)
		}
	}
}

// A bad value under an alternate is blamed on the variable that holds it.
func TestAlternate(t *testing.T) {
	t.Setenv("S_OLD_PORT", "x")
	_, err := config.Load(component(func(s *config.Spec) {
		s.Group("web", component(func(s *config.Spec) {
			config.Var(s, new(int), "port", config.Int, config.Alt("root:old_port"), config.Default("80"))
		}))
	}), config.LoadOptions{Sources: []config.Source{config.Environ("S_")}})
	want := "configuration: 1 problem\n\nS_OLD_PORT: \"x\" is not a whole number\n  set in:   process environment\n" +
		"  stands for: S_WEB_PORT\n  expects:  int\n  default:  80\n  fix:      export S_WEB_PORT=80"
	if err == nil || err.Error() != want {
		t.Errorf("Load: %v\nwant: %s", err, want)
	}
}

func TestCheck(t *testing.T) {
	got := configtest.MustFail(t, &app{}, map[string]string{"port": "13", "token": "sesame", "bucket": "b"})
	if len(got) != 1 || !strings.HasPrefix(got[0].Error(), `port: "13" must not be unlucky`) || got[0].Text != "13" {
		t.Errorf("MustFail = %v", got)
	}
}

func TestFlagOnly(t *testing.T) {
	t.Setenv("JSON", "yes")
	var a app
	_, err := config.Load(&a, config.LoadOptions{Sources: []config.Source{
		config.Environ(""), config.Map("file", map[string]string{"json": "yes", "token": "sesame", "bucket": "b"}),
	}})
	if want := "configuration: 1 problem\n\njson: is no option\n  set in:   file"; err == nil || err.Error() != want || a.JSON {
		t.Errorf("JSON = %v, %v: looked up outside the command line, or not reported", a.JSON, err)
	}
	configtest.Load(t, &a, map[string]string{"json": "yes", "token": "sesame", "bucket": "b"})
	if !a.JSON {
		t.Error("JSON is not set by its flag")
	}
	_, err = config.Load(component(func(s *config.Spec) {
		config.Var(s, new(string), "out", config.String, config.FlagOnly(), config.Short("o"))
	}), config.LoadOptions{Sources: []config.Source{config.Environ("")}})
	if err == nil || !strings.Contains(err.Error(), "\n--out: required, not set\n  looked in: command line\n  expects:") {
		t.Errorf("a missing flag: %v", err)
	}
}

func TestValues(t *testing.T) {
	var a app
	configtest.Load(t, &a, map[string]string{
		"token": "sesame", "crash_mover.wait": "1d4h", "crash_mover.storage.old_bucket": "b", "backends": "log:, https://example.org", "limit": "1KiB",
	})
	if a.Port != 8000 || a.Token != "sesame" || a.Wait != 28*time.Hour || a.Bucket != "b" || len(a.Backends) != 2 || *a.Limit != 1024 {
		t.Errorf("loaded %+v", a)
	}
	configtest.Load(t, &a, map[string]string{"token": "sesame", "bucket": "b"})
	if a.Backends != nil || a.Limit != nil {
		t.Errorf("defaults: %+v", a)
	}
}

func TestSecretFile(t *testing.T) {
	path := writeFile(t, "\n sesame \n")
	file, err := config.EnvFile("S_", writeFile(t, "s_token_file="+path+"\nS_PORT_FILE=/none\n"))
	if err != nil {
		t.Fatal(err)
	}
	var a app
	load := func() (*config.Report, error) {
		a = app{}
		return config.Load(&a, config.LoadOptions{Sources: []config.Source{
			config.Environ("S_"), file, config.Map("conf", map[string]string{"bucket": "b", "token_file": "/none"}),
		}})
	}
	r, err := load()
	if err != nil || a.Token != "sesame" {
		t.Fatalf("Token = %q, %v", a.Token, err)
	}
	if got := runtime(t, r); !strings.Contains(got, "S_TOKEN=*****  # "+file.Name()+", line 1 (s_token_file)\n") {
		t.Errorf("Runtime:\n%s", got)
	}
	t.Setenv("S_TOKEN_FILE", filepath.Join(t.TempDir(), "s3cr3t"))
	_, err = load()
	if want := "\nS_TOKEN_FILE: the file it names cannot be read: no such file or directory\n  set in:   process environment\n  expects:"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Load: %v\nwant %s", err, want)
	}
	noSecret(t, err)
	t.Setenv("S_TOKEN_FILE", writeFile(t, " \n"))
	if _, err = load(); err == nil || !strings.Contains(err.Error(), "\nS_TOKEN_FILE: the file it names is empty\n") {
		t.Errorf("Load: %v", err)
	}
	t.Setenv("S_TOKEN_FILE", writeFile(t, "s3cr3t"))
	_, err = load()
	if err == nil || !strings.Contains(err.Error(), "\nS_TOKEN_FILE: the value (a secret, not shown) is not accepted\n") {
		t.Errorf("Load: %v", err)
	}
	noSecret(t, err)
	t.Setenv("S_TOKEN", "hunter2")
	if _, err = load(); err != nil || a.Token != "hunter2" {
		t.Errorf("Token = %q, %v, want the plain variable to win", a.Token, err)
	}
}

func noSecret(t *testing.T, v any) {
	t.Helper()
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if got := fmt.Sprintf(format, v); strings.Contains(got, "s3cr3t") {
			t.Errorf("secret printed: %s", got)
		}
	}
}

// Parsers and checks of others may quote the text; it stays hidden in every field of the error too.
func TestSecretHidden(t *testing.T) {
	quoting := config.Parser[string]{Name: "quoting", Parse: func(s string) (string, error) { return "", fmt.Errorf("is %q", s) }}
	checked := config.Check(func(s string) error { return fmt.Errorf("is %q", s) })
	kv := map[string]string{"a": "s3cr3t", "b": "s3cr3t", "c": "s3cr3t"}
	r, err := config.Load(component(func(s *config.Spec) {
		config.Var(s, new(string), "a", quoting, config.Secret(), config.Example("x"))
		config.Var(s, new(string), "b", config.String, config.Secret(), checked)
		config.Var(s, new(string), "c", config.String, config.Secret())
		config.Var(s, new(string), "d", config.String, config.Secret())
		config.Var(s, new(string), "e", config.String, config.Secret(), config.Default(""))
	}), config.LoadOptions{Sources: []config.Source{config.Map("conf", kv)}})
	problems, ok := errors.AsType[config.Errors](err)
	if !ok || len(problems) != 3 {
		t.Fatalf("Load: %v", err)
	}
	noSecret(t, err)
	noSecret(t, *r)
	for _, p := range problems {
		noSecret(t, *p)
	}
	if got, want := runtime(t, r), "a=*****  # conf\nb=*****  # conf\nc=*****  # conf\nd=  # required, not set\ne=  # default\n"; got != want {
		t.Errorf("Runtime:\n%swant:\n%s", got, want)
	}
}

func runtime(t *testing.T, r *config.Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.Runtime(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRuntime(t *testing.T) {
	t.Setenv("S_PORT", "80a")
	t.Setenv("S_TOKEN", "sesame")
	t.Setenv("S_LIMIT", "1\n2")
	t.Setenv("S_BUCKET", "b")
	sources := []config.Source{config.Flags(map[string]string{"json": "yes", "crash-mover-wait": "5"}), config.Environ("S_")}
	r, err := config.Load(&app{}, config.LoadOptions{Sources: sources})
	if err == nil {
		t.Error("Load succeeded")
	}
	want := `S_PORT=80a  # process environment
S_TOKEN=*****  # process environment
--json=yes  # command line
S_CRASH_MOVER_WAIT=5  # command line (--crash-mover-wait)
S_CRASH_MOVER_STORAGE_BUCKET=b  # process environment (S_BUCKET)
S_BACKENDS=  # default
S_LIMIT="1\n2"  # process environment
`
	if got := runtime(t, r); got != want {
		t.Errorf("Runtime:\n%swant:\n%s", got, want)
	}
}

func TestOptions(t *testing.T) {
	var got []string
	a := app{Port: 1}
	for _, o := range config.Options(&a) {
		got = append(got, fmt.Sprintf("%s %s %q %q req=%v secret=%v flag=%v bool=%v %v", o.Key, o.Type, o.Short, o.Default, o.Required, o.Secret, o.FlagOnly, o.IsBool, o.Alt))
	}
	want := []string{
		`port int "p" "8000" req=false secret=false flag=false bool=false []`,
		`token string "" "" req=true secret=true flag=false bool=false []`,
		`json bool "" "no" req=false secret=false flag=true bool=true []`,
		`crash_mover.wait duration "" "1m" req=false secret=false flag=false bool=false []`,
		`crash_mover.storage.bucket string "" "" req=true secret=false flag=false bool=false [crash_mover.storage.old_bucket bucket gcs.bucket]`,
		`backends list of URL "" "" req=false secret=false flag=false bool=false []`,
		`limit size "" "" req=false secret=false flag=false bool=false []`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("Options:\n%s\nwant:\n%s", g, w)
	}
	if a.Port != 1 {
		t.Error("Options filled a destination")
	}
}

func TestDeclarationPanics(t *testing.T) {
	declare := func(keys ...string) func() {
		return func() {
			config.Options(component(func(s *config.Spec) {
				for _, k := range keys {
					ns, key, _ := strings.Cut(k, ".")
					s.Group(ns, component(func(s *config.Spec) { config.Var(s, new(string), key, config.String, config.Default("")) }))
				}
			}))
		}
	}
	declare(".a", "x.a", "y.a", ".a_b", ".ab1")()
	for _, keys := range [][]string{{".a", ".a"}, {"x.a", "x.a"}, {".x_a", "x.a"}, {"a_b.c", "a.b_c"}} {
		mustPanic(t, "declared twice", declare(keys...))
	}
	for _, key := range []string{".", ".A", ".1a", "._a", ".a_", ".a__b", ".a-b", ".a b", ".é", "X.a", "a-b.a", ".a.b"} {
		mustPanic(t, "is not lower snake case", declare(key))
	}
	one := func(opts ...config.Opt) func() {
		return func() {
			config.Options(component(func(s *config.Spec) {
				config.Var(s, new(int), "first", config.Int, config.Short("f"), config.Secret())
				config.Var(s, new(int), "a", config.Int, opts...)
			}))
		}
	}
	mustPanic(t, `option a: default "x" is not a whole number`, one(config.Default("x")))
	mustPanic(t, `default "5" must be odd`, one(config.Default("5"), config.Check(func(int) error { return errors.New("must be odd") })))
	mustPanic(t, "its check is a func(int64) error, want func(int) error", one(config.Check(func(int64) error { return nil })))
	mustPanic(t, `short flag "f" belongs to first`, one(config.Short("f")))
	mustPanic(t, `short flag "ff" is not one letter`, one(config.Short("ff")))
	mustPanic(t, `"B" is not lower snake case`, one(config.Alt("B")))
	mustPanic(t, "has the key a twice", one(config.Alt("root:a")))
	mustPanic(t, "has the key b twice", one(config.Alt("b", "root:b")))
	mustPanic(t, "nothing to fill", func() {
		config.Options(component(func(s *config.Spec) { config.Var(s, nil, "a", config.Int) }))
	})
	mustPanic(t, "option a_file: a secret's file and another option have one name", func() {
		config.Options(component(func(s *config.Spec) {
			config.Var(s, new(int), "a", config.Int, config.Secret())
			config.Var(s, new(int), "a_file", config.Int)
		}))
	})
	mustPanic(t, "option a: a secret's file and another option have one name", func() {
		config.Options(component(func(s *config.Spec) {
			config.Var(s, new(int), "a_file", config.Int)
			config.Var(s, new(int), "a", config.Int, config.Secret())
		}))
	})
}

func TestWriteMarkdown(t *testing.T) {
	var b strings.Builder
	if err := config.WriteMarkdown(&b, component(func(s *config.Spec) {
		config.Var(s, new(string), "listen", config.Addr, config.Default(":80"), config.Short("l"), config.Doc("Where to listen,\na|b."))
		s.Group("store", component(func(s *config.Spec) {
			config.Var(s, new(string), "api_key", config.String, config.Secret(), config.Alt("root:api_key"), config.Doc("Key."))
		}))
		config.Var(s, new(bool), "json", config.Bool, config.Default("no"), config.FlagOnly())
		config.Var(s, new(string), "note", config.String, config.Default(""), config.Example("x"))
	}), "S_"); err != nil {
		t.Fatal(err)
	}
	want := "| Option | Environment | Flag | Value | Default | About |\n|---|---|---|---|---|---|\n" +
		"| `listen` | `S_LISTEN` | `-l`, `--listen` | address: host:port | `:80` | Where to listen, a\\|b. |\n" +
		"| `store.api_key` | `S_STORE_API_KEY`, or `S_STORE_API_KEY_FILE` | `--store-api-key` | string | required | Key. Also read from `api_key`. Secret. |\n" +
		"|  |  | `--json` | bool: true/false, yes/no, on/off, t/f, y/n or 1/0 | `no` |  |\n" +
		"| `note` | `S_NOTE` | `--note` | string (example: `x`) | empty |  |\n"
	if b.String() != want {
		t.Errorf("WriteMarkdown:\n%s\nwant:\n%s", b.String(), want)
	}
}

// A map may stand as text or, in a file, under its name or an alternate; variables keep the case of their prefix.
func TestMapUnderAlternate(t *testing.T) {
	file, err := config.Settings("file", []config.Value{{Name: "old.tags.a", Text: "1", Pos: "line 2"}, {Name: "old.tags.b", Text: "x,y", Pos: "line 3"}})
	if err != nil {
		t.Fatal(err)
	}
	var tags map[string]string
	root := component(func(s *config.Spec) {
		config.Var(s, &tags, "tags", config.MapOf(config.String, config.String), config.Default(""), config.Alt("root:old.tags"))
	})
	for _, want := range []string{"map[a:1 b:x,y]", "map[c:2]"} {
		if _, err := config.Load(root, config.LoadOptions{Sources: []config.Source{config.Environ("app_"), file}}); err != nil || fmt.Sprint(tags) != want {
			t.Errorf("tags = %v, %v, want %s", tags, err, want)
		}
		t.Setenv("app_TAGS", "c=2")
	}
}

// Only flags could set it, and a command line is no place for the path of a secret.
func TestMissingSecretFlag(t *testing.T) {
	_, err := config.Load(component(func(s *config.Spec) {
		config.Var(s, new(string), "token", config.String, config.Secret(), config.FlagOnly())
	}), config.LoadOptions{Sources: []config.Source{config.Flags(nil)}})
	if want := "configuration: 1 problem\n\n--token: required, not set\n  looked in: command line\n  expects:  string\n  fix:      set --token"; err == nil || err.Error() != want {
		t.Errorf("Load: %v\nwant: %s", err, want)
	}
}
