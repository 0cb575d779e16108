package combine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"salvage/internal/errs"
)

// Git runs git in a working tree.
type Git struct {
	Dir string // empty: the current folder
}

// gitError is what git said when it failed.
type gitError struct {
	args   []string
	stderr string
	err    error
}

func (e *gitError) Error() string {
	return fmt.Sprintf("git %s: %v\n%s", strings.Join(e.args, " "), e.err, strings.TrimSpace(e.stderr))
}
func (e *gitError) Unwrap() error { return e.err }

// run returns what git prints, without the last line feed. Nothing here depends on the language of its messages.
func (g *Git) run(ctx context.Context, args ...string) (string, error) {
	return g.input(ctx, "", args...)
}

func (g *Git) input(ctx context.Context, stdin string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "git", args...)
	c.Dir = g.Dir
	c.Env = append(c.Environ(), "GIT_EDITOR=:", "GIT_TERMINAL_PROMPT=0")
	c.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return "", errs.Public(errs.Unavailable, "git is not installed.")
		}
		return "", &gitError{args, stderr.String() + stdout.String(), err}
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// ok reports whether git ends with 0, and fails if it ends with anything but 0 and 1.
func (g *Git) ok(ctx context.Context, args ...string) (bool, error) {
	_, err := g.run(ctx, args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// path is where git keeps a file of its own for this working tree.
func (g *Git) path(ctx context.Context, name string) (string, error) {
	p, err := g.run(ctx, "rev-parse", "--git-path", name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errs.Public(errs.Invalid, "This is no git repository."), err)
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(g.Dir, p)
	}
	return p, nil
}

func (g *Git) commit(ctx context.Context, rev string) (string, error) {
	return g.run(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
}

// picking reports whether a pick has stopped in the middle, and whether files are in conflict.
func (g *Git) picking(ctx context.Context) (stopped, conflicts bool, err error) {
	if stopped, err = g.ok(ctx, "rev-parse", "--verify", "--quiet", "CHERRY_PICK_HEAD"); err != nil || !stopped {
		return stopped, false, err
	}
	unmerged, err := g.run(ctx, "ls-files", "--unmerged")
	return stopped, unmerged != "", err
}

// remote returns what to fetch pull requests from: the remote of the project, else its address on GitHub.
func (g *Git) remote(ctx context.Context, user, project string) (string, error) {
	list, err := g.run(ctx, "remote", "-v")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(list) {
		name, address, _ := strings.Cut(strings.TrimSpace(line), "\t")
		address, kind, _ := strings.Cut(address, " ")
		at := strings.TrimSuffix(strings.TrimSuffix(address, "/"), ".git")
		if kind == "(fetch)" && (strings.HasSuffix(at, "/"+user+"/"+project) || strings.HasSuffix(at, ":"+user+"/"+project)) {
			return name, nil
		}
	}
	return fmt.Sprintf("https://github.com/%s/%s.git", user, project), nil
}

// main returns the commit that the main branch is at: here, or where it was fetched from.
func (g *Git) main(ctx context.Context, branch, remote string) (string, error) {
	for _, rev := range []string{"refs/heads/" + branch, "refs/remotes/" + remote + "/" + branch} {
		if commit, err := g.commit(ctx, rev); err == nil {
			return commit, nil
		}
	}
	return "", errs.Public(errs.NotFound, "There is no branch %s here.", branch)
}
