package combine_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"salvage/internal/combine"
	"salvage/internal/errs"
)

func TestOpen(t *testing.T) {
	var asked []string
	api := httptest.NewServer(nil)
	defer api.Close()
	api.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		q := r.URL.Query()
		page, _ := strconv.Atoi(q.Get("page"))
		page = max(page, 1)
		if page < 3 {
			q.Set("page", strconv.Itoa(page+1))
			w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next", <%s/last>; rel="last"`, api.URL, r.URL.Path, q.Encode(), api.URL))
		}
		fmt.Fprintf(w, `[{"number":%d,"title":"page %d [x]\u001b[31m","labels":[{"name":"b"},{"name":"a"}],"base":{"ref":"main"},"state":"open"}]`, page, page)
	})
	g := &combine.GitHub{API: api.URL + "/", User: "acme", Project: "shop", Client: http.DefaultClient}
	all, err := g.Open(t.Context(), "ma in")
	if err != nil || len(all) != 3 || all[2].Number != 3 || all[0].Title != "page 1 [x] [31m" || strings.Join(all[0].Labels, " ") != "a b" {
		t.Errorf("%+v, %v", all, err)
	}
	if len(asked) != 3 || asked[0] != "/repos/acme/shop/pulls?base=ma+in&per_page=100" {
		t.Errorf("%q", asked)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status int
		header map[string]string
		body   string
		token  string
		kind   error
		says   string
	}{
		{401, nil, `{"message":"Bad credentials"}`, "x", errs.Denied, "GitHub does not accept the token in PMAC_GITHUB_API_TOKEN (Bad credentials)."},
		{403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "{}", "", errs.Unavailable, "With PMAC_GITHUB_API_TOKEN set there are more."},
		{429, map[string]string{"Retry-After": "60"}, "", "x", errs.Unavailable, "GitHub takes no more requests."},
		{403, nil, `{"message":"Resource not accessible"}`, "x", errs.Denied, "GitHub refuses (Resource not accessible)."},
		{404, nil, "{}", "", errs.NotFound, "a private project needs PMAC_GITHUB_API_TOKEN"},
		{404, nil, "{}", "x", errs.NotFound, "or the token may not see it"},
		{502, nil, "<html>", "x", errs.Unavailable, "502 Bad Gateway"},
		{200, nil, "<html>", "x", errs.Corrupt, "something else than the list"},
		{200, map[string]string{"Link": `<http://elsewhere.example/x>; rel="next"`}, "[]", "x", errs.Corrupt, "on another machine"},
	} {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for k, v := range tt.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		}))
		g := &combine.GitHub{API: api.URL, User: "acme", Project: "shop", Token: tt.token, Client: http.DefaultClient}
		_, err := g.Open(t.Context(), "main")
		if !errors.Is(err, tt.kind) || !strings.Contains(errs.Message(err), tt.says) {
			t.Errorf("%d: %v; want %q", tt.status, err, tt.says)
		}
		api.Close()
	}
	g := &combine.GitHub{API: "http://127.0.0.1:1", User: "acme", Project: "shop", Client: http.DefaultClient}
	if _, err := g.Get(t.Context(), 1); !errors.Is(err, errs.Unavailable) {
		t.Error(err)
	}
}
