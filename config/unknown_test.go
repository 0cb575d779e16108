package config_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvage/config"
	"salvage/config/configtest"
)

func warnings(r *config.Report) string {
	var b strings.Builder
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, w)
	}
	return b.String()
}

type renamed struct {
	Port int
	Key  string
}

func (r *renamed) Options(s *config.Spec) {
	s.Group("web", component(func(s *config.Spec) {
		config.Var(s, &r.Port, "port", config.Int, config.Alt("listen_port"), config.Deprecated("portnum", "root:old_port"))
		config.Var(s, &r.Key, "key", config.String, config.Secret(), config.Deprecated("root:api_key"), config.Default(""))
	}))
}

func TestDeprecated(t *testing.T) {
	file, err := config.EnvFile("S_", writeFile(t, "\nS_OLD_PORT=1\nS_API_KEY_FILE="+writeFile(t, "s3cr3t")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	var c renamed
	load := func() *config.Report {
		t.Helper()
		r, err := config.Load(&c, config.LoadOptions{Sources: []config.Source{config.Environ("S_"), file}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := load()
	if c.Port != 1 || c.Key != "s3cr3t" {
		t.Errorf("loaded %+v", c)
	}
	want := fmt.Sprintf("S_OLD_PORT (%s, line 2) is deprecated; use S_WEB_PORT\nS_API_KEY_FILE (%[1]s, line 3) is deprecated; use S_WEB_KEY\n", file.Name())
	if got := warnings(r); got != want {
		t.Errorf("warnings:\n%swant:\n%s", got, want)
	}
	if !errors.Is(r.Warnings[0].Err, config.ErrDeprecated) || r.Warnings[0].Instead != "S_WEB_PORT" {
		t.Errorf("%+v", r.Warnings[0])
	}
	t.Setenv("S_WEB_LISTEN_PORT", "2") // an alternate is as good as the name, and goes before
	if r := load(); c.Port != 2 || strings.Contains(warnings(r), "PORT") {
		t.Errorf("port %d, warnings:\n%s", c.Port, warnings(r))
	}
	t.Setenv("S_WEB_PORTNUM", "x")
	t.Setenv("S_WEB_LISTEN_PORT", "")
	r, err = config.Load(&c, config.LoadOptions{Sources: []config.Source{config.Environ("S_"), file}})
	if err == nil || !strings.Contains(err.Error(), "S_WEB_PORTNUM: \"x\" is not a whole number\n  set in:   process environment\n  stands for: S_WEB_PORT\n") {
		t.Errorf("Load: %v", err)
	}
	if !strings.HasPrefix(warnings(r), "S_WEB_PORTNUM (process environment) is deprecated; use S_WEB_PORT\n") {
		t.Errorf("warnings: %s", warnings(r))
	}
	missing := configtest.MustFail(t, &c, nil, "web.port")
	if got := strings.Join(missing[0].AlsoTried, " "); got != "web.listen_port web.portnum (deprecated) old_port (deprecated)" {
		t.Errorf("also tried %s", got)
	}
}

type limits struct {
	rate, burst int
	labels      map[string]int
	proxies     []string
	token       string
}

func (l *limits) Options(s *config.Spec) {
	s.Group("collector", component(func(s *config.Spec) {
		config.Var(s, &l.rate, "rate", config.Int, config.Default("1"), config.Deprecated("speed"))
		config.Var(s, &l.burst, "burst", config.Int, config.Alt("root:peak"))
	}))
	config.Var(s, &l.labels, "labels", config.MapOf(config.String, config.Int), config.Default(""))
	config.Var(s, &l.proxies, "proxies", config.List(config.String), config.Default(""))
	config.Var(s, &l.token, "token", config.String, config.Secret(), config.Default(""))
}

func TestMisspeltVariable(t *testing.T) {
	file, err := config.EnvFile("S_", writeFile(t, "S_COLLECTOR_BRUST=s3cr3t\nS_COLLECTOR_SPEED=2\nS_OTHER=1\nT_TOKEN=1\ns_labels=a=1\nS_TOKEN_FILES=x\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("s_collector_rate", "5") // not seen: the environment knows cases
	t.Setenv("S_FIXTURES", "1")       // somebody else's
	t.Setenv("S_TOKN", "s3cr3t")
	t.Setenv("S_PEAKS", "1") // short names are taken for somebody else's
	r, err := config.Load(&limits{}, config.LoadOptions{Sources: []config.Source{config.Environ("S_"), file}})
	want := "S_TOKN (process environment) is no option; did you mean S_TOKEN?\n" +
		"s_collector_rate (process environment) is no option; did you mean S_COLLECTOR_RATE?\n" +
		"S_COLLECTOR_BRUST (" + file.Name() + ", line 1) is no option; did you mean S_COLLECTOR_BURST?\n"
	got := warnings(r)
	if got = strings.TrimPrefix(got, "S_COLLECTOR_SPEED ("+file.Name()+", line 2) is deprecated; use S_COLLECTOR_RATE\n"); sorted(got) != sorted(want) {
		t.Errorf("warnings:\n%swant:\n%s", got, want)
	}
	if err == nil || !strings.Contains(err.Error(), "\n  looked in: process environment, "+file.Name()+"\n  also tried: S_PEAK\n  similar:  S_COLLECTOR_BRUST ("+file.Name()+", line 1)\n") {
		t.Errorf("Load: %v", err)
	}
	if !strings.HasSuffix(fmt.Sprint(err), "\n  fix:      set S_COLLECTOR_BURST") {
		t.Errorf("Load: %v", err)
	}
	noSecret(t, err)
	noSecret(t, *r)
}

func sorted(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestUnknownKeys(t *testing.T) {
	file, err := config.Settings("file x.yaml", []config.Value{
		{Name: "collector.rate", Text: "7", Pos: "line 1"}, {Name: "Collector-Burst", Text: "8", Pos: "line 2"},
		{Name: "colector.rate", Text: "s3cr3t", Pos: "line 3"}, {Name: "tokne", Text: "s3cr3t", Pos: "line 4"},
		{Name: "burst", Text: "1", Pos: "line 5"}, {Name: "something", Pos: "line 6"},
		{Name: "labels.a", Text: "1", Pos: "line 7"}, {Name: "Labels.b.c", Text: "2", Pos: "line 8"}, {Name: "proxies.a", Text: "2", Pos: "line 9"},
		{Name: "labelsx.a", Text: "1", Pos: "line 10"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var l limits
	r, err := config.Load(&l, config.LoadOptions{Sources: []config.Source{file}, Reference: "README"})
	want := `configuration: 6 problems

colector.rate: is no option
  set in:   file x.yaml, line 3
  fix:      did you mean collector.rate?

tokne: is no option
  set in:   file x.yaml, line 4
  fix:      did you mean token?

burst: is no option
  set in:   file x.yaml, line 5
  fix:      did you mean Collector-Burst?

something: is no option
  set in:   file x.yaml, line 6

proxies.a: is no option
  set in:   file x.yaml, line 9
  fix:      did you mean proxies?

labelsx.a: is no option
  set in:   file x.yaml, line 10
  fix:      did you mean labels?

Configuration reference: README`
	if err == nil || err.Error() != want {
		t.Errorf("Load: %v\nwant: %s", err, want)
	}
	if !errors.Is(err, config.ErrUnknown) || len(r.Warnings) > 0 || l.rate != 7 || l.burst != 8 || fmt.Sprint(l.labels) != "map[a:1 b.c:2]" {
		t.Errorf("%v, %+v", r.Warnings, l)
	}
	if got, want := runtime(t, r), "collector.rate=7  # file x.yaml, line 1\nCollector-Burst=8  # file x.yaml, line 2\nlabels=\"a=1\\nb.c=2\\n\"  # file x.yaml, line 7\nproxies=  # default\ntoken=  # default\n"; got != want {
		t.Errorf("Runtime:\n%swant:\n%s", got, want)
	}
}

// own is a source as others may write it; it knows names and no spelling of its own.
type own map[string]string

func (o own) Name() string { return "registry" }
func (o own) Lookup(k config.Key) (config.Value, bool) {
	text, ok := o[k.String()]
	return config.Value{Text: text}, ok
}
func (o own) List() (all []config.Value) {
	for name := range o {
		all = append(all, config.Value{Name: name})
	}
	return all
}

func TestOwnSource(t *testing.T) {
	var l limits
	if _, err := config.Load(&l, config.LoadOptions{Sources: []config.Source{own{"collector.burst": "5"}}}); err != nil || l.burst != 5 {
		t.Errorf("%+v, %v", l, err)
	}
	_, err := config.Load(&l, config.LoadOptions{Sources: []config.Source{own{"collector.burst": "x", "collector.bust": "5"}}})
	if err == nil || !strings.HasPrefix(err.Error(), "configuration: 2 problems\n\ncollector.burst: \"x\" is not a whole number\n  set in:   registry\n  expects:") {
		t.Errorf("Load: %v", err)
	}
	_, err = config.Load(&l, config.LoadOptions{Sources: []config.Source{own{"collector.bust": "5"}}})
	want := "configuration: 2 problems\n\ncollector.burst: required, not set\n  looked in: registry\n  also tried: peak\n  similar:  collector.bust (registry)\n  expects:  int\n  fix:      set collector.burst\n\n" +
		"collector.bust: is no option\n  set in:   registry\n  fix:      did you mean collector.burst?"
	if err == nil || err.Error() != want {
		t.Errorf("Load: %v\nwant: %s", err, want)
	}
}

// Short names of variables are as likely others'; of several names the nearest is meant.
func TestNearest(t *testing.T) {
	root := component(func(s *config.Spec) {
		for _, name := range []string{"run", "port", "bodies_at_once_per_host", "max_boxes", "max_bodies", "max_boots"} {
			config.Var(s, new(string), name, config.String, config.Default(""))
		}
	})
	for name, want := range map[string]string{
		"RNU": "", "PROT": "", "BODYS_AT_ONCE_PER_HOST": "BODIES_AT_ONCE_PER_HOST", "BODYS_AT_ONCE_PRE_HOST": "", "MAX_BODEIS": "MAX_BODIES", "MAX_BOXIES": "MAX_BOXES", "MAXBOOTS": "MAX_BOOTS", "MAX_BO": "", "MAX_BODIES": "", "OTHER": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "x")
			r, err := config.Load(root, config.LoadOptions{Sources: []config.Source{config.Environ("")}})
			got := ""
			for _, w := range r.Warnings {
				if w.Name == name {
					got = w.Instead
				}
			}
			if err != nil || got != want {
				t.Errorf("%s is taken for %q, want %q (%v)", name, got, want, err)
			}
		})
	}
	for name, want := range map[string]string{"max_boxies": "max_boxes", "bodies": "max_bodies", "rnu": "run", "rn": "", "max-bodis": "max_bodies", "x.run": ""} {
		_, err := config.Load(root, config.LoadOptions{Sources: []config.Source{config.Map("file", map[string]string{name: "x"})}})
		problems, _ := errors.AsType[config.Errors](err)
		if len(problems) != 1 || problems[0].Fix != strings.TrimSuffix("did you mean "+want+"?", "did you mean ?") {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
