package combine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"salvage/internal/errs"
)

// Combiner adds pull requests to the current branch.
type Combiner struct {
	GitHub *GitHub
	Git    *Git
	Main   string // name of the main branch
	Out    io.Writer

	// Failpoint, in tests, is called before each step that changes something. Nil otherwise.
	Failpoint func(step string)
}

// state is how far an add has come. It is written before each step, so that an add goes on wherever it was
// interrupted, and stays when it is done, for what it says of what was left out.
type state struct {
	Start   string   // HEAD before
	Main    string   // the commit of the main branch
	Pulls   []pull   // in the order asked for
	At      int      // the pull request at work
	Commits []string // of it
	Next    int      // the commit at work
	Before  string   // HEAD before that one
	Stopped bool     // it was left to a person
	Made    []string // commits that were made
	Left    []left   // what was left out, and why
	Done    bool
}

type pull struct {
	Number     int
	Title, URL string
}

type left struct {
	Pull   int
	Commit string // empty: all of the pull request
	Title  string
	Why    string
}

const stateFile = "pmac.json"

func (c *Combiner) load(ctx context.Context) (*state, error) {
	path, err := c.Git.path(ctx, stateFile)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := new(state)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%w: %w", errs.Public(errs.Corrupt, "%s, which says how far an add had come, cannot be read. Remove it to begin anew.", path), err)
	}
	return s, nil
}

func (c *Combiner) save(ctx context.Context, s *state) error {
	path, err := c.Git.path(ctx, stateFile)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (c *Combiner) say(format string, args ...any) { fmt.Fprintf(c.Out, "pmac: "+format+"\n", args...) }

func (c *Combiner) step(name string) {
	if c.Failpoint != nil {
		c.Failpoint(name)
	}
}

// active returns the state of an add that is under way.
func (c *Combiner) active(ctx context.Context) (*state, error) {
	s, err := c.load(ctx)
	if err == nil && (s == nil || s.Done) {
		err = errs.Public(errs.Invalid, "No add is under way.")
	}
	return s, err
}

// Add picks the commits of the pull requests, in this order, onto the current branch. It stops with Conflict
// where a person has to decide.
func (c *Combiner) Add(ctx context.Context, numbers []int) error {
	switch s, err := c.load(ctx); {
	case err != nil:
		return err
	case s != nil && !s.Done:
		return errs.Public(errs.Conflict, "An add is under way, at pull request %d. Say pmac add --continue, --skip or --abort.", s.Pulls[s.At].Number)
	}
	if stopped, _, err := c.Git.picking(ctx); err != nil || stopped {
		if err == nil {
			err = errs.Public(errs.Conflict, "A git cherry-pick is under way here. End it first.")
		}
		return err
	}
	if clean, err := c.Git.ok(ctx, "diff-index", "--quiet", "HEAD", "--"); err != nil || !clean {
		if err == nil {
			err = errs.Public(errs.Conflict, "There are changes that are not committed.")
		}
		return err
	}
	remote, err := c.Git.remote(ctx, c.GitHub.User, c.GitHub.Project)
	if err != nil {
		return err
	}
	s := new(state)
	if s.Main, err = c.Git.main(ctx, c.Main, remote); err != nil {
		return err
	}
	if s.Start, err = c.Git.commit(ctx, "HEAD"); err != nil {
		return err
	}
	for _, n := range numbers { // all of them, before anything is changed
		p, err := c.GitHub.Get(ctx, n)
		if err != nil {
			return fmt.Errorf("pull request %d: %w", n, err)
		}
		if slices.ContainsFunc(s.Pulls, func(q pull) bool { return q.Number == n }) {
			continue
		}
		if p.Base != "" && p.Base != c.Main {
			c.say("PR %d is for the branch %s, not %s.", n, clean(p.Base), c.Main)
		}
		if p.State == "closed" {
			c.say("PR %d is closed.", n)
		}
		s.Pulls = append(s.Pulls, pull{n, p.Title, p.URL})
	}
	c.step("state")
	if err := c.save(ctx, s); err != nil {
		return err
	}
	return c.work(ctx, s)
}

// work goes on from where s says.
func (c *Combiner) work(ctx context.Context, s *state) error {
	for ; s.At < len(s.Pulls); s.At, s.Commits, s.Next = s.At+1, nil, 0 {
		if s.Commits == nil {
			if err := c.fetch(ctx, s); err != nil {
				return err
			}
		}
		for s.Next < len(s.Commits) {
			if err := c.pick(ctx, s); err != nil {
				return err
			}
		}
	}
	s.Done = true
	if err := c.save(ctx, s); err != nil {
		return err
	}
	c.say("Log since %s tip ...", c.Main)
	log, err := c.Git.run(ctx, "log", "--oneline", s.Main+"..HEAD")
	if err != nil {
		return err
	}
	if log == "" {
		c.say("No changes.")
	} else {
		fmt.Fprintln(c.Out, log)
	}
	c.say("Done.")
	return nil
}

// fetch lists the commits of the pull request at work: those that the main branch does not have, oldest first.
func (c *Combiner) fetch(ctx context.Context, s *state) error {
	p := s.Pulls[s.At]
	c.say("Working on pr %d (%d/%d)", p.Number, s.At+1, len(s.Pulls))
	remote, err := c.Git.remote(ctx, c.GitHub.User, c.GitHub.Project)
	if err != nil {
		return err
	}
	c.step("fetch")
	ref := fmt.Sprintf("refs/pmac/%d", p.Number)
	if _, err := c.Git.run(ctx, "fetch", "--quiet", "--no-tags", remote, fmt.Sprintf("+refs/pull/%d/head:%s", p.Number, ref)); err != nil {
		return fmt.Errorf("%w: %w", errs.Public(errs.Unavailable, "Pull request %d could not be fetched from %s: %s", p.Number, remote, lastLine(err)), err)
	}
	list, err := c.Git.run(ctx, "rev-list", "--reverse", "--topo-order", s.Main+".."+ref)
	if err != nil {
		return err
	}
	s.Commits, s.Next = strings.Fields(list), 0
	if len(s.Commits) == 0 {
		c.say("PR %d looks like it's already been applied. Skipping...", p.Number)
		s.Left = append(s.Left, left{Pull: p.Number, Title: p.Title, Why: "the main branch has it"})
		s.Commits = []string{}
	}
	return c.save(ctx, s)
}

func lastLine(err error) string {
	var e *gitError
	if !errors.As(err, &e) {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(e.stderr), "\n")
	return clean(lines[len(lines)-1])
}

// pick picks the commit at work.
func (c *Combiner) pick(ctx context.Context, s *state) error {
	p, commit := s.Pulls[s.At], s.Commits[s.Next]
	about, err := c.Git.run(ctx, "log", "-1", "--format=%h%n%P%n%s", commit)
	if err != nil {
		return err
	}
	fields := strings.SplitN(about, "\n", 3)
	short, parents, title := fields[0], strings.Fields(fields[1]), clean(fields[2])
	leave := func(why string) error {
		s.Left = append(s.Left, left{p.Number, short, title, why})
		s.Next++
		return c.save(ctx, s)
	}
	c.say("Applying %s from %d (%d/%d) ...", short, p.Number, s.Next+1, len(s.Commits))
	switch {
	case len(parents) > 1:
		c.say("%s is a merge; what it brought in is picked itself, or on the main branch. Skipping...", short)
		return leave("a merge commit")
	case len(parents) == 1:
		if same, err := c.Git.ok(ctx, "diff-tree", "--quiet", parents[0], commit); err != nil {
			return err
		} else if same {
			c.say("%s changes nothing. Skipping...", short)
			return leave("an empty commit")
		}
		// A later commit may have changed the same lines again, so that picking it would not even be empty.
		if there, err := c.Git.run(ctx, "cherry", "HEAD", commit, parents[0]); err != nil {
			return err
		} else if strings.HasPrefix(there, "-") {
			c.say("PR %d looks like it's already been applied. Skipping...", p.Number)
			return leave("already applied")
		}
	}
	if s.Before, err = c.Git.commit(ctx, "HEAD"); err != nil {
		return err
	}
	s.Stopped = false
	if err := c.save(ctx, s); err != nil {
		return err
	}
	c.step("pick")
	if _, err := c.Git.run(ctx, "cherry-pick", commit); err != nil {
		stopped, conflicts, stateErr := c.Git.picking(ctx)
		switch {
		case stateErr != nil:
			return stateErr
		case !stopped:
			return fmt.Errorf("%w: %w", errs.Public(errs.Conflict, "%s of pull request %d cannot be picked: %s", short, p.Number, lastLine(err)), err)
		case !conflicts:
			if empty, err := c.Git.ok(ctx, "diff-index", "--quiet", "HEAD", "--"); err != nil {
				return err
			} else if empty {
				return c.applied(ctx, s, leave)
			}
		}
		s.Stopped = true
		if err := c.save(ctx, s); err != nil {
			return err
		}
		return c.conflict(ctx, s, short)
	}
	return c.reword(ctx, s)
}

// applied leaves out a commit that changes nothing here.
func (c *Combiner) applied(ctx context.Context, s *state, leave func(string) error) error {
	c.say("PR %d looks like it's already been applied. Skipping...", s.Pulls[s.At].Number)
	c.step("skip")
	if _, err := c.Git.run(ctx, "cherry-pick", "--skip"); err != nil {
		return err
	}
	return leave("already applied")
}

func (c *Combiner) conflict(ctx context.Context, s *state, short string) error {
	c.say("Conflict hit when applying %s from %d.", short, s.Pulls[s.At].Number)
	status, err := c.Git.run(ctx, "status", "--short")
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Out, status)
	return errs.Public(errs.Conflict, "Resolve it in these files, git add them, and say\n"+
		"    pmac add --continue    to go on\n    pmac add --skip        to go on without this commit\n    pmac add --abort       to have the branch as it was\n"+
		"With git config rerere.enabled true, git remembers how you resolved it.")
}

var from = regexp.MustCompile(`\(from PR #\d+\)`)

// reword says in the subject of the commit that this step made where it is from, and ends the step. HEAD is left
// alone if it is not that commit.
func (c *Combiner) reword(ctx context.Context, s *state) error {
	head, err := c.Git.commit(ctx, "HEAD")
	if err != nil {
		return err
	}
	parent, err := c.Git.commit(ctx, "HEAD^")
	if err == nil && parent == s.Before {
		message, err := c.Git.run(ctx, "log", "-1", "--format=%B", "HEAD")
		if err != nil {
			return err
		}
		if subject, rest, _ := strings.Cut(message, "\n"); !from.MatchString(subject) {
			message = fmt.Sprintf("%s (from PR #%d)\n%s", subject, s.Pulls[s.At].Number, rest)
			c.step("reword")
			if _, err := c.Git.input(ctx, message, "commit", "--quiet", "--amend", "--no-verify", "--allow-empty-message", "--cleanup=verbatim", "--file=-"); err != nil {
				return err
			}
			if head, err = c.Git.commit(ctx, "HEAD"); err != nil {
				return err
			}
		}
		s.Made = append(s.Made, head)
	} else if head != s.Before {
		c.say("The branch has other commits than expected; they are left as they are.")
	}
	s.Next++
	c.step("made")
	return c.save(ctx, s)
}

// Continue goes on with an add that stopped at a conflict or was interrupted.
func (c *Combiner) Continue(ctx context.Context) error {
	s, err := c.active(ctx)
	if err != nil {
		return err
	}
	if s.Before == "" || s.Commits == nil || s.Next >= len(s.Commits) {
		return c.work(ctx, s)
	}
	commit := s.Commits[s.Next]
	leave := func(why string) error {
		title, err := c.Git.run(ctx, "log", "-1", "--format=%h %s", commit)
		if err != nil {
			return err
		}
		short, title, _ := strings.Cut(title, " ")
		s.Left = append(s.Left, left{s.Pulls[s.At].Number, short, clean(title), why})
		s.Next++
		return c.save(ctx, s)
	}
	stopped, conflicts, err := c.Git.picking(ctx)
	if err != nil {
		return err
	}
	head, err := c.Git.commit(ctx, "HEAD")
	if err != nil {
		return err
	}
	switch {
	case conflicts:
		return c.conflict(ctx, s, commit[:min(len(commit), 10)])
	case stopped:
		empty, err := c.Git.ok(ctx, "diff-index", "--quiet", "HEAD", "--")
		if err != nil {
			return err
		}
		if empty {
			if err := c.applied(ctx, s, leave); err != nil {
				return err
			}
			break
		}
		c.step("continue")
		if _, err := c.Git.run(ctx, "cherry-pick", "--continue"); err != nil {
			return fmt.Errorf("%w: %w", errs.Public(errs.Conflict, "git does not go on: %s", lastLine(err)), err)
		}
		if err := c.reword(ctx, s); err != nil {
			return err
		}
	case head == s.Before && s.Stopped: // git cherry-pick --skip, by hand
		if err := leave("skipped"); err != nil {
			return err
		}
	case head == s.Before: // interrupted before git had done anything
	default:
		if err := c.reword(ctx, s); err != nil {
			return err
		}
	}
	return c.work(ctx, s)
}

// Skip goes on without the commit at work.
func (c *Combiner) Skip(ctx context.Context) error {
	s, err := c.active(ctx)
	if err != nil {
		return err
	}
	stopped, _, err := c.Git.picking(ctx)
	if err != nil {
		return err
	}
	if !stopped {
		return errs.Public(errs.Invalid, "No commit waits for a decision. Say pmac add --continue or --abort.")
	}
	c.step("skip")
	if _, err := c.Git.run(ctx, "cherry-pick", "--skip"); err != nil {
		return err
	}
	s.Stopped = true // Continue takes it for skipped
	if err := c.save(ctx, s); err != nil {
		return err
	}
	return c.Continue(ctx)
}

// Abort makes the branch what it was before the add, unless there is something on it that the add did not make.
func (c *Combiner) Abort(ctx context.Context) error {
	s, err := c.active(ctx)
	if err != nil {
		return err
	}
	stopped, _, err := c.Git.picking(ctx)
	if err != nil {
		return err
	}
	if stopped {
		c.step("abort")
		if _, err := c.Git.run(ctx, "cherry-pick", "--abort"); err != nil {
			return err
		}
	}
	list, err := c.Git.run(ctx, "rev-list", s.Start+"..HEAD")
	if err != nil {
		return err
	}
	commits := strings.Fields(list)
	known, err := c.Git.ok(ctx, "merge-base", "--is-ancestor", s.Start, "HEAD")
	if err != nil {
		return err
	}
	head, err := c.Git.commit(ctx, "HEAD")
	if err != nil {
		return err
	}
	ours := func(commit string) bool {
		if slices.Contains(s.Made, commit) {
			return true
		}
		parent, err := c.Git.commit(ctx, commit+"^") // picked and not yet reworded
		return err == nil && commit == head && parent == s.Before && !s.Stopped
	}
	if !known || slices.ContainsFunc(commits, func(commit string) bool { return !ours(commit) }) {
		s.Done = true
		if err := c.save(ctx, s); err != nil {
			return err
		}
		return errs.Public(errs.Conflict, "The branch has commits that pmac did not make, so it is left as it is. It was at %s.", s.Start)
	}
	c.step("reset")
	if _, err := c.Git.run(ctx, "reset", "--quiet", "--keep", s.Start); err != nil {
		return err
	}
	path, err := c.Git.path(ctx, stateFile)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	c.say("The branch is as it was.")
	return nil
}

// Message writes the text for a pull request of the branch: what it covers, newest first. With markdown, pull
// requests are links, and what was left out is told.
func (c *Combiner) Message(ctx context.Context, markdown bool) error {
	remote, err := c.Git.remote(ctx, c.GitHub.User, c.GitHub.Project)
	if err != nil {
		return err
	}
	main, err := c.Git.main(ctx, c.Main, remote)
	if err != nil {
		return err
	}
	log, err := c.Git.run(ctx, "log", "--format=%s", main+"..HEAD")
	if err != nil {
		return err
	}
	if log == "" {
		return errs.Public(errs.NotFound, "There is nothing on this branch that %s does not have. Add pull requests first.", c.Main)
	}
	fmt.Fprint(c.Out, "Update dependencies. This covers:\n\n")
	number := regexp.MustCompile(`#(\d+)`)
	link := func(text string) string {
		if !markdown {
			return text
		}
		return number.ReplaceAllString(text, fmt.Sprintf("[#$1](https://github.com/%s/%s/pull/$1)", c.GitHub.User, c.GitHub.Project))
	}
	for line := range strings.Lines(log) {
		fmt.Fprintf(c.Out, "* %s\n", link(clean(strings.TrimSuffix(line, "\n"))))
	}
	s, err := c.load(ctx)
	if err != nil || !markdown || s == nil || len(s.Left) == 0 {
		return err
	}
	if ours, err := c.Git.ok(ctx, "merge-base", "--is-ancestor", s.Start, "HEAD"); err != nil || !ours {
		return err // of another branch
	}
	fmt.Fprint(c.Out, "\nLeft out:\n\n")
	for _, l := range s.Left {
		what := clean(l.Title)
		if l.Commit != "" {
			what = "`" + l.Commit + "` " + what
		}
		fmt.Fprintf(c.Out, "* %s of %s: %s\n", what, link(fmt.Sprintf("#%d", l.Pull)), l.Why)
	}
	return nil
}
