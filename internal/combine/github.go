// Package combine puts the commits of several pull requests on the current branch, as paul-mclendahand does
// (companions.md §3): it fetches them with git, picks them one after another and says behind each subject which
// pull request it is from. It never pushes, and changes nothing on GitHub.
package combine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"salvage/internal/errs"
)

// GitHub reads pull requests of a project through GitHub's API.
type GitHub struct {
	API     string // address of the API: https://api.github.com
	User    string
	Project string
	Token   string // empty: without an account, 60 requests an hour
	Client  *http.Client
}

// PullRequest is what is asked of one.
type PullRequest struct {
	Number int      `json:"number"`
	Title  string   `json:"title"`
	URL    string   `json:"html_url"`
	State  string   `json:"state"` // open or closed
	Labels []string `json:"labels"`
	Base   string   `json:"base"` // branch it is for
}

// wirePR is GitHub's document.
type wirePR struct {
	Number int
	Title  string
	URL    string `json:"html_url"`
	State  string
	Labels []struct{ Name string }
	Base   struct{ Ref string }
}

func (w *wirePR) pull() PullRequest {
	p := PullRequest{Number: w.Number, Title: clean(w.Title), URL: w.URL, State: w.State, Base: w.Base.Ref, Labels: []string{}}
	for _, l := range w.Labels {
		p.Labels = append(p.Labels, clean(l.Name))
	}
	slices.Sort(p.Labels)
	return p
}

// clean makes text one line that a terminal takes for nothing else.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

const (
	perPage  = 100 // the most that the API gives
	maxPages = 100
	maxBody  = 32 << 20
)

// Open returns the open pull requests for a branch, in the API's order.
func (g *GitHub) Open(ctx context.Context, base string) (all []PullRequest, err error) {
	next := fmt.Sprintf("%s/repos/%s/%s/pulls?%s", strings.TrimRight(g.API, "/"), url.PathEscape(g.User), url.PathEscape(g.Project),
		url.Values{"base": {base}, "per_page": {strconv.Itoa(perPage)}}.Encode())
	for range maxPages {
		var page []wirePR
		if next, err = g.get(ctx, next, &page); err != nil {
			return nil, err
		}
		for i := range page {
			all = append(all, page[i].pull())
		}
		if next == "" {
			return all, nil
		}
	}
	return nil, errs.Public(errs.TooLarge, "There are more than %d pull requests.", maxPages*perPage)
}

// Get returns one pull request.
func (g *GitHub) Get(ctx context.Context, number int) (PullRequest, error) {
	var w wirePR
	_, err := g.get(ctx, fmt.Sprintf("%s/repos/%s/%s/pulls/%d", strings.TrimRight(g.API, "/"), url.PathEscape(g.User), url.PathEscape(g.Project), number), &w)
	return w.pull(), err
}

var nextLink = regexp.MustCompile(`<([^>]+)>;\s*rel="next"`)

// get decodes an answer and returns the address of the next page.
func (g *GitHub) get(ctx context.Context, target string, v any) (next string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", errs.Public(errs.Invalid, "The address of the API, %s, is none.", g.API)
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	if g.Token != "" {
		r.Header.Set("Authorization", "token "+g.Token)
	}
	res, err := g.Client.Do(r)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errs.Public(errs.Unavailable, "GitHub's API does not answer: %v.", err), err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", g.refused(res, r.URL)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(v); err != nil {
		return "", fmt.Errorf("%w: %w", errs.Public(errs.Corrupt, "GitHub's API at %s gave something else than the list asked for.", r.URL.Host), err)
	}
	m := nextLink.FindStringSubmatch(res.Header.Get("Link"))
	if m == nil {
		return "", nil
	}
	if u, err := url.Parse(m[1]); err != nil || u.Host != r.URL.Host || u.Scheme != r.URL.Scheme {
		return "", errs.Public(errs.Corrupt, "GitHub's API continues its list on another machine: %.200q.", m[1]) // which the token is not for
	}
	return m[1], nil
}

// refused says what an answer that is no success means.
func (g *GitHub) refused(res *http.Response, u *url.URL) error {
	var body struct{ Message string }
	_ = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&body)
	said := ""
	if body.Message != "" {
		said = fmt.Sprintf(" (%s)", clean(body.Message))
	}
	limited := res.Header.Get("X-RateLimit-Remaining") == "0" || res.Header.Get("Retry-After") != ""
	switch code := res.StatusCode; {
	case (code == http.StatusForbidden || code == http.StatusTooManyRequests) && limited:
		until := ""
		if n, err := strconv.ParseInt(res.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			until = " until " + time.Unix(n, 0).Local().Format("15:04:05")
		}
		hint := ""
		if g.Token == "" {
			hint = " With PMAC_GITHUB_API_TOKEN set there are more."
		}
		return errs.Public(errs.Unavailable, "GitHub takes no more requests%s.%s", until, hint)
	case code == http.StatusUnauthorized:
		return errs.Public(errs.Denied, "GitHub does not accept the token in PMAC_GITHUB_API_TOKEN%s.", said)
	case code == http.StatusForbidden:
		return errs.Public(errs.Denied, "GitHub refuses%s.", said)
	case code == http.StatusNotFound && g.Token == "":
		return errs.Public(errs.NotFound, "GitHub knows no %s; a private project needs PMAC_GITHUB_API_TOKEN.", u.Path)
	case code == http.StatusNotFound:
		return errs.Public(errs.NotFound, "GitHub knows no %s, or the token may not see it.", u.Path)
	default:
		return errs.Public(errs.Unavailable, "GitHub's API answers %s%s.", res.Status, said)
	}
}
