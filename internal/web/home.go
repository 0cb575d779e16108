package web

import (
	"context"
	"database/sql"
	"net/http"
	"strconv"
	"strings"

	"salvage/internal/access"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/errs"
	"salvage/internal/metadb"
)

const (
	maxSignatures = 20
	maxLatest     = 50
	maxChips      = 12
	maxShown      = 300 // characters of a signature or reason in a list
)

// window is which crashes a page counts.
type window struct {
	Product, Version string
	Days             int // one of windows
}

var windows = []int{7, 14, 28}

const defaultDays = 28

// windowOf reads product, version and days of a query.
func windowOf(r *http.Request) (window, error) {
	q := r.URL.Query()
	f := window{q.Get("product"), q.Get("version"), defaultDays}
	if s := q.Get("days"); s != "" {
		f.Days = 0
		for _, n := range windows {
			if s == strconv.Itoa(n) {
				f.Days = n
			}
		}
		if f.Days == 0 {
			return f, errs.Public(errs.Invalid, "The parameter days is 7, 14 or 28.")
		}
	}
	return f, nil
}

func (f window) daysParam() string {
	if f.Days == defaultDays {
		return ""
	}
	return strconv.Itoa(f.Days)
}

func (f window) link() string {
	return link("/", "product", f.Product, "version", f.Version, "days", f.daysParam())
}

func (f window) filters() (all []crashindex.Filter) {
	if f.Product != "" || f.Version != "" {
		all = append(all, is("product", f.Product))
	}
	if f.Version != "" {
		all = append(all, is("version", f.Version))
	}
	return all
}

func is(field, value string) crashindex.Filter {
	return crashindex.Filter{Field: field, Op: crashindex.Is, Values: []crashindex.Value{crashindex.Text(value)}}
}

// chip is one of some choices.
type chip struct {
	Text, Link string
	On         bool
}

// chipsOf are the values of a facet, and the chosen one whether it is among them or not.
func chipsOf(terms []crashindex.Term, all, chosen string, to func(value string) string) []chip {
	chips := []chip{{all, to(""), chosen == ""}}
	found := chosen == ""
	for _, t := range terms {
		chips = append(chips, chip{show(t.Value.Text, 60), to(t.Value.Text), t.Value.Text == chosen})
		found = found || t.Value.Text == chosen
	}
	if !found {
		chips = append(chips, chip{show(chosen, 60), to(chosen), true})
	}
	return chips
}

func dayChips(chosen int, to func(days int) string) (chips []chip) {
	for _, n := range windows {
		chips = append(chips, chip{strconv.Itoa(n) + " days", to(n), n == chosen})
	}
	return chips
}

type homePage struct {
	base
	Products, Versions, Days []chip
	Cards                    []card
	Chart                    chart
	Signatures               []signatureRow
	Crashes                  []crashRow
	Filtered, Ever           bool // filters are set; there is a crash, perhaps elsewhere
	Period, Site             string
}

type card struct {
	Number, Text, Link string
	Warn               bool
}

type signatureRow struct {
	N                  int
	Name, Link, Period string
	Count              string
	Chart              chart
}

// crashRow is a crash in a list.
type crashRow struct {
	Link, Signature, Reason, Product, Platform string
	When                                       stamp
}

var crashColumns = []string{"signature", "reason", "product", "version", "platform_pretty_version", "platform"}

func crashRowOf(h crashindex.Hit) crashRow {
	v := func(i int) string { return h.Values[i].String() }
	platform := v(4)
	if platform == "" {
		platform = v(5)
	}
	signature := v(0)
	if signature == "" {
		signature = "(no signature)"
	}
	return crashRow{
		Link: "/report/" + string(h.ID), Signature: show(signature, maxShown), Reason: show(v(1), maxShown),
		Product: show(join(v(2), v(3)), 100), Platform: show(platform, 100), When: stampOf(h.Submitted),
	}
}

// join puts a space between what is not empty.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}

func signatureLink(signature string) string { return link("/signature/", "signature", signature) }

func (s *Web) serveHome(w http.ResponseWriter, r *http.Request, who access.Principal) error {
	f, err := windowOf(r)
	if err != nil {
		return err
	}
	p := homePage{base: s.base(r, who, "Crashes", "/"), Site: siteOf(r)}
	if err := s.fillHome(r.Context(), &p, f); err != nil {
		return err
	}
	return s.render(w, http.StatusOK, "home", p)
}

func (s *Web) fillHome(ctx context.Context, p *homePage, f window) error {
	d := lastDays(s.Now(), f.Days)
	products, err := s.Index.Search(ctx, crashindex.Query{From: d.from, To: d.to, Facets: []crashindex.Facet{{Field: "product", Size: maxChips}}})
	if err != nil {
		return err
	}
	p.Products = chipsOf(products.Facets[0], "All products", f.Product, func(v string) string { return window{v, "", f.Days}.link() })
	p.Days = dayChips(f.Days, func(n int) string { return window{f.Product, f.Version, n}.link() })
	if f.Product != "" || f.Version != "" {
		versions, err := s.Index.Search(ctx, crashindex.Query{From: d.from, To: d.to, Filters: window{Product: f.Product}.filters(), Facets: []crashindex.Facet{{Field: "version", Size: maxChips}}})
		if err != nil {
			return err
		}
		p.Versions = chipsOf(versions.Facets[0], "All versions", f.Version, func(v string) string { return window{f.Product, v, f.Days}.link() })
	}
	found, err := s.Index.Search(ctx, crashindex.Query{
		From: d.from, To: d.to, Filters: f.filters(), Columns: crashColumns, Limit: maxLatest, Histogram: crashindex.Day,
		Facets: []crashindex.Facet{{Field: "signature", Size: maxSignatures, Histogram: crashindex.Day}}, Cardinality: []string{"signature"},
	})
	if err != nil {
		return err
	}
	p.Period, p.Filtered, p.Ever = strconv.Itoa(f.Days)+" days", f.Product != "" || f.Version != "", found.Total > 0
	if found.Total == 0 { // older ones?
		ever, err := s.Index.Search(ctx, crashindex.Query{})
		if err != nil {
			return err
		}
		p.Ever = ever.Total > 0
		return nil
	}
	p.Chart = chartOf(d, found.Histogram, 30, 4, 140)
	for i, t := range found.Facets[0] {
		c := chartOf(d, t.Histogram, 5, 1, 20)
		p.Signatures = append(p.Signatures, signatureRow{i + 1, show(t.Value.Text, maxShown), signatureLink(t.Value.Text), period(c), number(t.Count), c})
	}
	for _, h := range found.Hits {
		p.Crashes = append(p.Crashes, crashRowOf(h))
	}
	missing, err := s.missing(ctx, maxMissing)
	if err != nil {
		return err
	}
	counts := d.counts(found.Histogram)
	p.Cards = []card{
		weekCard(counts),
		{Number: number(counts[len(counts)-1]), Text: "today, in UTC"},
		{Number: number(found.Cardinality[0]), Text: "signatures in " + p.Period},
		{Number: "0", Text: "modules lack symbols", Link: "/symbols"},
	}
	if len(missing) > 0 {
		more := ""
		if len(missing) == maxMissing {
			more = "+"
		}
		p.Cards[3] = card{number(len(missing)) + more, "modules lack symbols; the first is in " + count(missing[0].Crashes, "crash", "crashes"), "/symbols#missing", true}
	}
	return nil
}

// weekCard is about the last seven days, compared with those before where counts has them.
func weekCard(counts []int) card {
	sum := func(c []int) (n int) {
		for _, v := range c {
			n += v
		}
		return n
	}
	n := len(counts)
	week := sum(counts[n-7:])
	c := card{Number: number(week), Text: "crashes in 7 days"}
	if n < 14 {
		return c
	}
	if before := sum(counts[n-14 : n-7]); before > 0 {
		switch change := (week - before) * 100 / before; {
		case change > 0:
			c.Text += ", +" + number(change) + " %"
		case change < 0:
			c.Text += ", −" + number(-change) + " %"
		default:
			c.Text += ", as many as in the 7 before"
		}
	}
	return c
}

// period spells the first and the last day of a chart that have crashes.
func period(c chart) string {
	first, last := "", ""
	for _, b := range c.Bars {
		if b.Some {
			if first == "" {
				first = b.Day
			}
			last = b.Day
		}
	}
	if first == last {
		return first
	}
	return first + " – " + last
}

func (s *Web) missing(ctx context.Context, limit int) (all []metadb.MissingModule, err error) {
	err = s.DB.View(ctx, func(tx *sql.Tx) error {
		all, err = metadb.MissingModules(ctx, tx, limit)
		return err
	})
	return all, err
}

// serveFind goes to the crash of an id that somebody typed.
func (s *Web) serveFind(w http.ResponseWriter, r *http.Request, _ access.Principal) error {
	id, err := parseID(r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/report/"+string(id), http.StatusSeeOther)
	return nil
}

func parseID(s string) (crash.ID, error) {
	return crash.ParseID(strings.ToLower(strings.TrimSpace(s)))
}
