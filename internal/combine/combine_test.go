package combine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"salvage/internal/combine"
	"salvage/internal/errs"
)

// rig is a project with pull requests, a clone of it on a new branch, and an API that knows them.
type rig struct {
	*testing.T
	*combine.Combiner
	origin, dir string
	out         *bytes.Buffer
	titles      map[int]string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, origin: filepath.Join(t.TempDir(), "acme", "shop.git"), out: new(bytes.Buffer), titles: map[int]string{}}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_SYSTEM", os.DevNull)
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("LANGUAGE", "de")
	for name, value := range map[string]string{"AUTHOR": "Robot", "COMMITTER": "Person"} {
		t.Setenv("GIT_"+name+"_NAME", value)
		t.Setenv("GIT_"+name+"_EMAIL", strings.ToLower(value)+"@example.org")
	}
	if err := os.MkdirAll(r.origin, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git(r.origin, "init", "-q", "-b", "main")
	r.commit("init\n", map[string]string{"a": "1\n", "b": "1\n", "c": "1\n"})
	api := httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(api.Close)
	r.Combiner = &combine.Combiner{
		GitHub: &combine.GitHub{API: api.URL, User: "acme", Project: "shop", Token: "t0ken", Client: http.DefaultClient},
		Git:    &combine.Git{}, Main: "main", Out: r.out,
	}
	return r
}

// clone makes the person's working tree, on a branch with a commit of its own.
func (r *rig) clone() {
	r.Helper()
	r.dir = filepath.Join(r.TempDir(), "work")
	r.git(r.origin, "clone", "-q", r.origin, r.dir)
	r.git(r.dir, "checkout", "-q", "-b", "combined")
	r.write(r.dir, map[string]string{"local": "x\n"})
	r.git(r.dir, "add", ".")
	r.git(r.dir, "commit", "-q", "-m", "local change")
	r.Git.Dir = r.dir
}

func (r *rig) git(dir string, args ...string) string {
	r.Helper()
	c := exec.Command("git", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "LC_ALL=C")
	text, err := c.CombinedOutput()
	if err != nil {
		r.Fatalf("git %v: %v\n%s", args, err, text)
	}
	return strings.TrimSuffix(string(text), "\n")
}

func (r *rig) write(dir string, files map[string]string) {
	r.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			r.Fatal(err)
		}
	}
}

// commit commits to what is checked out in the project. No files: an empty commit.
func (r *rig) commit(message string, files map[string]string) {
	r.Helper()
	r.write(r.origin, files)
	r.git(r.origin, "add", ".")
	r.git(r.origin, "commit", "-q", "--allow-empty", "--cleanup=verbatim", "-m", message)
}

// pull makes a pull request of what commits do on top of from.
func (r *rig) pull(number int, from, title string, commits func()) {
	r.Helper()
	r.git(r.origin, "checkout", "-q", "--detach", from)
	commits()
	r.git(r.origin, "update-ref", fmt.Sprintf("refs/pull/%d/head", number), "HEAD")
	r.git(r.origin, "checkout", "-q", "main")
	r.titles[number] = title
}

// serve answers like GitHub's API.
func (r *rig) serve(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Authorization") != "token t0ken" {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message":"Bad credentials"}`)
		return
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/repos/acme/shop/pulls/"))
	title, ok := r.titles[n]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprintf(w, `{"number":%d,"title":%q,"state":"open","base":{"ref":"main"},"html_url":"https://github.com/acme/shop/pull/%d"}`, n, title, n)
}

func (r *rig) subjects() string { return r.git(r.dir, "log", "--reverse", "--format=%s", "main..HEAD") }

func (r *rig) want(err error, kind error, subjects ...string) {
	r.Helper()
	if (kind == nil) != (err == nil) || kind != nil && !errors.Is(err, kind) {
		r.Fatalf("%v, want %v\n%s", err, kind, r.out)
	}
	if got, want := r.subjects(), strings.Join(append([]string{"local change"}, subjects...), "\n"); got != want {
		r.Errorf("the branch has\n%s\nwant\n%s\n%s", got, want, r.out)
	}
}

const dependabot = `[security] Bump left-pad

Bumps it.


# Release notes
---
updated-dependencies:
- dependency-name: left-pad
...

Signed-off-by: dependabot[bot] <support@github.com>
`

// demo has the pull requests that upstream's defects were about (companions.md §3.6).
func demo(t *testing.T) *rig {
	r := newRig(t)
	r.pull(1, "main", "one [x]", func() { r.commit(dependabot, map[string]string{"a": "2\n"}) })
	r.pull(2, "main", "two", func() {
		r.commit("second\n", map[string]string{"b": "2\n"})
		r.commit("third (from PR #9)\n", map[string]string{"b": "3\n"})
	})
	r.pull(3, "main", "conflict", func() {
		r.commit("clash\n", map[string]string{"a": "other\n"})
		r.commit("after\n", map[string]string{"c": "2\n"})
	})
	r.pull(4, "main", "empty", func() { r.commit("nothing\n", nil) })
	r.pull(5, "refs/pull/1/head", "stacked", func() { r.commit("on top\n", map[string]string{"d": "1\n"}) })
	r.pull(6, "main", "merge", func() {
		r.commit("side\n", map[string]string{"e": "1\n"})
		r.git(r.origin, "merge", "-q", "--no-ff", "-m", "Merge two", "refs/pull/2/head")
	})
	r.clone()
	return r
}

func TestAdd(t *testing.T) {
	r := demo(t)
	r.write(r.dir, map[string]string{"CMTMSG": "mine"})
	err := r.Add(t.Context(), []int{1, 2, 4, 5, 6, 2})
	r.want(err, nil, "[security] Bump left-pad (from PR #1)", "second (from PR #2)", "third (from PR #9)", "on top (from PR #5)", "side (from PR #6)")
	want := strings.Replace(dependabot, "left-pad\n", "left-pad (from PR #1)\n", 1)
	if got := r.git(r.dir, "log", "--format=%B", "-1", "--grep=Bump"); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("the message is\n%s", got)
	}
	if got := r.git(r.dir, "log", "--format=%an <%ae>", "-1"); got != "Robot <robot@example.org>" {
		t.Errorf("author %s", got)
	}
	if got, _ := os.ReadFile(filepath.Join(r.dir, "CMTMSG")); string(got) != "mine" {
		t.Error("CMTMSG was overwritten")
	}
	for _, s := range []string{"pmac: Working on pr 1 (1/5)\n", "changes nothing. Skipping...", "PR 5 looks like it's already been applied. Skipping...", "is a merge;", "pmac: Log since main tip ...\n", "pmac: Done.\n"} {
		if !strings.Contains(r.out.String(), s) {
			t.Errorf("it does not say %q:\n%s", s, r.out)
		}
	}
	r.out.Reset()
	if err := r.Message(t.Context(), false); err != nil || r.out.String() != "Update dependencies. This covers:\n\n* side (from PR #6)\n* on top (from PR #5)\n* third (from PR #9)\n* second (from PR #2)\n* [security] Bump left-pad (from PR #1)\n* local change\n" {
		t.Errorf("%v\n%s", err, r.out)
	}
	r.out.Reset()
	if err := r.Message(t.Context(), true); err != nil || !strings.Contains(r.out.String(), "* second (from PR [#2](https://github.com/acme/shop/pull/2))\n") ||
		!strings.Contains(r.out.String(), "nothing of [#4](https://github.com/acme/shop/pull/4): an empty commit\n") || !strings.Contains(r.out.String(), "Merge two of [#6]") ||
		!strings.Contains(r.out.String(), "Bump left-pad of [#5](https://github.com/acme/shop/pull/5): already applied\n") {
		t.Errorf("%v\n%s", err, r.out)
	}
	// Once more changes nothing.
	before := r.git(r.dir, "rev-parse", "HEAD")
	if err := r.Add(t.Context(), []int{1, 2}); err != nil || r.git(r.dir, "rev-parse", "HEAD") != before {
		t.Errorf("again: %v\n%s", err, r.subjects())
	}
}

// A commit that does not fit stops everything; then it is resolved, skipped or undone, with git's commands or
// with pmac's.
func TestConflict(t *testing.T) {
	resolve := func(r *rig) {
		r.write(r.dir, map[string]string{"a": "both\n"})
		r.git(r.dir, "add", "a")
	}
	for name, tt := range map[string]struct {
		person func(r *rig) error
		kind   error
		want   []string
	}{
		"resolved": {func(r *rig) error { resolve(r); return r.Continue(r.Context()) }, nil, []string{"clash (from PR #3)", "after (from PR #3)"}},
		"resolved and committed": {func(r *rig) error {
			resolve(r)
			r.git(r.dir, "-c", "core.editor=true", "cherry-pick", "--continue")
			return r.Continue(r.Context())
		}, nil, []string{"clash (from PR #3)", "after (from PR #3)"}},
		"resolved to nothing": {func(r *rig) error {
			r.write(r.dir, map[string]string{"a": "2\n"})
			r.git(r.dir, "add", "a")
			return r.Continue(r.Context())
		}, nil, []string{"after (from PR #3)"}},
		"not resolved":     {func(r *rig) error { return r.Continue(r.Context()) }, errs.Conflict, nil},
		"skipped":          {func(r *rig) error { return r.Skip(r.Context()) }, nil, []string{"after (from PR #3)"}},
		"skipped with git": {func(r *rig) error { r.git(r.dir, "cherry-pick", "--skip"); return r.Continue(r.Context()) }, nil, []string{"after (from PR #3)"}},
		"another add":      {func(r *rig) error { return r.Add(r.Context(), []int{2}) }, errs.Conflict, nil},
		"nothing to skip":  {func(r *rig) error { r.git(r.dir, "cherry-pick", "--skip"); return r.Skip(r.Context()) }, errs.Invalid, nil},
		"resolved, a commit more": {func(r *rig) error {
			resolve(r)
			r.git(r.dir, "-c", "core.editor=true", "cherry-pick", "--continue")
			r.git(r.dir, "commit", "-q", "--allow-empty", "-m", "mine")
			return r.Continue(r.Context())
		}, nil, []string{"clash", "mine", "after (from PR #3)"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := demo(t)
			err := r.Add(t.Context(), []int{1, 3})
			if !errors.Is(err, errs.Conflict) || !strings.Contains(errs.Message(err), "pmac add --continue") || !strings.Contains(r.out.String(), "UU a") {
				t.Fatalf("%v\n%s", err, r.out)
			}
			err = tt.person(r)
			if name == "not resolved" && strings.Count(r.out.String(), "Conflict hit when applying") != 2 {
				t.Errorf("it does not say again what to do: %v\n%s", err, r.out)
			}
			r.want(err, tt.kind, append([]string{"[security] Bump left-pad (from PR #1)"}, tt.want...)...)
		})
	}
	t.Run("aborted", func(t *testing.T) {
		r := demo(t)
		start := r.git(r.dir, "rev-parse", "HEAD")
		r.want(r.Add(t.Context(), []int{1, 3}), errs.Conflict, "[security] Bump left-pad (from PR #1)")
		r.want(r.Abort(t.Context()), nil)
		if got := r.git(r.dir, "rev-parse", "HEAD"); got != start || r.git(r.dir, "status", "--porcelain") != "" {
			t.Errorf("the branch is at %s", got)
		}
		r.want(r.Abort(t.Context()), errs.Invalid)
		r.want(r.Add(t.Context(), []int{2}), nil, "second (from PR #2)", "third (from PR #9)")
	})
	t.Run("aborted, a commit more", func(t *testing.T) {
		r := demo(t)
		r.want(r.Add(t.Context(), []int{1, 3}), errs.Conflict, "[security] Bump left-pad (from PR #1)")
		r.git(r.dir, "cherry-pick", "--skip")
		r.git(r.dir, "commit", "-q", "--allow-empty", "-m", "mine")
		r.want(r.Abort(t.Context()), errs.Conflict, "[security] Bump left-pad (from PR #1)", "mine")
	})
}

var errKilled = errors.New("killed")

// TestInterrupted stops an add before each of its steps, as a lost connection to the machine would, and goes on.
func TestInterrupted(t *testing.T) {
	want := []string{"[security] Bump left-pad (from PR #1)", "second (from PR #2)", "third (from PR #9)", "on top (from PR #5)"}
	for at := 0; ; at++ {
		r := demo(t)
		n, name := 0, ""
		r.Failpoint = func(step string) {
			if n == at {
				name = step
				panic(errKilled)
			}
			n++
		}
		killed := func(f func() error) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = p.(error)
				}
			}()
			return f()
		}
		err := killed(func() error { return r.Add(t.Context(), []int{1, 2, 5}) })
		r.Failpoint = nil
		if name == "" {
			r.want(err, nil, want...)
			if at < 10 {
				t.Errorf("only %d steps", at)
			}
			return
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if err = r.Continue(t.Context()); name == "state" {
			if !errors.Is(err, errs.Invalid) {
				t.Errorf("nothing had begun: %v", err)
			}
			err = r.Add(t.Context(), []int{1, 2, 5})
		}
		t.Log(name)
		r.want(err, nil, want...)
	}
}

// TestAbortInterrupted: whatever was made so far goes, also what was not reworded yet.
func TestAbortInterrupted(t *testing.T) {
	for _, step := range []string{"fetch", "pick", "reword", "made"} {
		r := demo(t)
		r.Failpoint = func(s string) {
			if s == step {
				panic(errKilled)
			}
		}
		func() {
			defer func() { _ = recover() }()
			_ = r.Add(t.Context(), []int{2})
		}()
		r.Failpoint = nil
		t.Log(step)
		r.want(r.Abort(t.Context()), nil)
	}
}

func TestRefused(t *testing.T) {
	r := demo(t)
	r.want(r.Add(t.Context(), []int{1, 99}), errs.NotFound)
	r.want(r.Continue(t.Context()), errs.Invalid)
	r.titles[98] = "without a ref"
	if err := r.Add(t.Context(), []int{98}); !errors.Is(err, errs.Unavailable) || !strings.Contains(errs.Message(err), "could not be fetched from origin") {
		t.Error(err)
	}
	r.want(r.Abort(t.Context()), nil)
	r.write(r.dir, map[string]string{"a": "changed\n"})
	r.want(r.Add(t.Context(), []int{1}), errs.Conflict)
	r.git(r.dir, "checkout", "-q", "a")
	r.Main = "trunk"
	if err := r.Add(t.Context(), []int{1}); !errors.Is(err, errs.NotFound) {
		t.Error(err)
	}
	r.Main = "main"
	r.git(r.dir, "checkout", "-q", "main")
	if err := r.Message(t.Context(), false); !errors.Is(err, errs.NotFound) {
		t.Error(err)
	}
	r.Git.Dir = t.TempDir()
	if err := r.Add(t.Context(), []int{1}); !errors.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

// A pull request of many commits comes whole.
func TestManyCommits(t *testing.T) {
	r := newRig(t)
	r.pull(1, "main", "many", func() {
		for i := range 40 {
			r.commit(fmt.Sprintln("step", i), map[string]string{"a": fmt.Sprintln(i)})
		}
	})
	r.clone()
	if err := r.Add(context.Background(), []int{1}); err != nil || strings.Count(r.subjects(), "(from PR #1)") != 40 {
		t.Errorf("%v\n%s", err, r.subjects())
	}
}
