package web

import (
	"net/http"
	"strconv"

	"salvage/internal/access"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
)

const maxShares = 10

type signaturePage struct {
	base
	Name           string
	Total, Ever    string
	Any, Recent    bool // there are crashes; some in the window
	First, Last    stamp
	Period         string
	Days           []chip
	Chart          chart
	Facets         []facet
	Crashes        []crashRow
	CrashesOmitted bool
}

type facet struct {
	Title  string
	Shares []share
}

// signatureFacets are what crashes of a signature are told apart by.
var signatureFacets = []struct{ title, field string }{
	{"Version", "version"}, {"Platform", "platform_pretty_version"}, {"Reason", "reason"}, {"Product", "product"},
}

func (s *Web) serveSignature(w http.ResponseWriter, r *http.Request, who access.Principal) error {
	f, err := windowOf(r)
	if err != nil {
		return err
	}
	name := r.URL.Query().Get("signature")
	p := signaturePage{base: s.base(r, who, name, "/"), Name: show(name, 1000), Period: strconv.Itoa(f.Days) + " days"}
	if name == "" {
		p.Title, p.Name = "Signature", "No signature"
		return s.render(w, http.StatusNotFound, "signature", p)
	}
	p.Days = dayChips(f.Days, func(n int) string {
		return link("/signature/", "signature", name, "days", window{Days: n}.daysParam())
	})
	d := lastDays(s.Now(), f.Days)
	filters := []crashindex.Filter{is("signature", name)}
	ever, err := s.Index.Search(r.Context(), crashindex.Query{Filters: filters, Sort: []crashindex.Sort{{Field: crashindex.ByDate}}, Limit: 1})
	if err != nil {
		return err
	}
	if ever.Total == 0 {
		return s.render(w, http.StatusNotFound, "signature", p)
	}
	p.Any, p.Ever, p.First = true, number(ever.Total), stampOf(ever.Hits[0].Submitted)
	q := crashindex.Query{From: d.from, To: d.to, Filters: filters, Columns: crashColumns, Limit: maxLatest, Histogram: crashindex.Day}
	for _, f := range signatureFacets {
		q.Facets = append(q.Facets, crashindex.Facet{Field: f.field, Size: maxShares})
	}
	found, err := s.Index.Search(r.Context(), q)
	if err != nil {
		return err
	}
	p.Total, p.Recent, p.CrashesOmitted = number(found.Total), found.Total > 0, found.Total > len(found.Hits)
	p.Chart = chartOf(d, found.Histogram, 30, 4, 140)
	for i, terms := range found.Facets {
		if len(terms) > 0 {
			p.Facets = append(p.Facets, facet{signatureFacets[i].title, shares(terms, found.Total)})
		}
	}
	for _, h := range found.Hits {
		row := crashRowOf(h)
		row.Signature = crash.Prefix + string(h.ID) // the signature is the same for all
		p.Crashes = append(p.Crashes, row)
	}
	if p.Recent {
		p.Last = p.Crashes[0].When
	}
	return s.render(w, http.StatusOK, "signature", p)
}
