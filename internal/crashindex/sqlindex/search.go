package sqlindex

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
)

func (e *engine) Search(ctx context.Context, q crashindex.Query) (r crashindex.Result, err error) {
	err = e.db.View(ctx, func(tx *sql.Tx) error {
		s := search{ctx: ctx, tx: tx}
		var err error
		r, err = s.run(q)
		return err
	})
	return r, err
}

// search is one search, with the condition that its crashes match.
type search struct {
	ctx   context.Context
	tx    *sql.Tx
	where string
	args  []any
}

func (s *search) run(q crashindex.Query) (r crashindex.Result, err error) {
	if err := s.condition(q); err != nil {
		return r, err
	}
	if err := s.count(q, &r); err != nil {
		return r, err
	}
	if r.Hits, err = s.hits(q); err != nil {
		return r, err
	}
	for _, f := range q.Facets {
		terms, err := s.facet(f)
		if err != nil {
			return r, err
		}
		r.Facets = append(r.Facets, terms)
	}
	if q.Histogram > 0 {
		b := bin(q.Histogram)
		err = s.each("SELECT "+b+", count(*) FROM crash_index WHERE "+s.where+" GROUP BY "+b+" ORDER BY "+b, s.args, func(scan scan) error {
			bin, err := scanBin(scan, q.Histogram)
			r.Histogram = append(r.Histogram, bin)
			return err
		})
	}
	return r, err
}

// arg makes v a parameter of the condition.
func (s *search) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

func (s *search) condition(q crashindex.Query) error {
	var all []string
	if q.From.After(crashindex.Earliest) {
		all = append(all, "submitted >= "+s.arg(q.From.UnixMilli()))
	}
	if q.To.Before(crashindex.Latest) {
		all = append(all, "submitted < "+s.arg(q.To.UnixMilli()))
	}
	is := func(f crashindex.Filter, field string) bool {
		return f.Field == field && f.Op == crashindex.Is && !f.Not
	}
	bySignature := slices.ContainsFunc(q.Filters, func(f crashindex.Filter) bool { return is(f, "signature") })
	for _, f := range q.Filters {
		holds, err := s.filter(f)
		if err != nil {
			return err
		}
		if bySignature && is(f, "product") {
			holds = strings.Replace(holds, "product", "+product", 1) // so that its index, the worse one, is not taken
		}
		if f.Not && f.Op != crashindex.IsNull {
			holds = f.Field + " IS NULL OR NOT (" + holds + ")"
		}
		all = append(all, "("+holds+")")
	}
	s.where = strings.Join(append(all, "1 = 1"), " AND ")
	return nil
}

// filter returns the condition that the operator of f holds, but for IsNull with its negation.
func (s *search) filter(f crashindex.Filter) (string, error) {
	switch {
	case f.Op == crashindex.IsNull && f.Not:
		return f.Field + " IS NOT NULL", nil
	case f.Op == crashindex.IsNull:
		return f.Field + " IS NULL", nil
	case slices.Contains(texts, f.Field):
		return s.among(f)
	}
	sign := map[crashindex.Op]string{crashindex.Is: " = ", crashindex.AtLeast: " >= ", crashindex.AtMost: " <= "}[f.Op]
	var either []string
	for _, v := range f.Values {
		either = append(either, f.Field+sign+s.arg(v.Int))
	}
	return strings.Join(either, " OR "), nil
}

// maxListed is how many ids a statement lists. With more, each statement of a search looks for them anew.
var maxListed = 10_000

// among returns the condition that the field has one of the values for which f holds.
func (s *search) among(f crashindex.Filter) (string, error) {
	own := search{ctx: s.ctx, tx: s.tx}
	var ids []string
	query := fmt.Sprintf("SELECT id FROM crash_index_values WHERE %s LIMIT %d", own.match(f), maxListed+1)
	err := own.each(query, own.args, func(scan scan) error {
		var id int64
		err := scan(&id)
		ids = append(ids, strconv.FormatInt(id, 10))
		return err
	})
	switch {
	case len(ids) == 0:
		return "1 = 0", err
	case len(ids) > maxListed:
		return f.Field + " IN (SELECT id FROM crash_index_values WHERE " + s.match(f) + ")", err
	}
	return f.Field + " IN (" + strings.Join(ids, ", ") + ")", err
}

// match returns the condition that f holds for a row of crash_index_values.
func (s *search) match(f crashindex.Filter) string {
	var either, hashes []string
	for _, v := range f.Values {
		switch p := s.arg(v.Text); f.Op {
		case crashindex.Is:
			either, hashes = append(either, "text = "+p), append(hashes, s.arg(hash(v.Text)))
		case crashindex.Contains: // not LIKE, for which in SQLite a is A
			either = append(either, "replace(text, "+p+", '') <> text")
		case crashindex.StartsWith:
			either = append(either, fmt.Sprintf("substr(text, 1, %d) = %s", utf8.RuneCountInString(v.Text), p))
		}
	}
	m := "field = '" + f.Field + "' AND (" + strings.Join(either, " OR ") + ")"
	if hashes != nil {
		m += " AND hash IN (" + strings.Join(hashes, ", ") + ")"
	}
	return m
}

func (s *search) hits(q crashindex.Query) (hits []crashindex.Hit, err error) {
	if q.Limit == 0 {
		return nil, nil
	}
	var order string
	for _, by := range q.Sort {
		desc := ""
		if by.Desc {
			desc = " DESC"
		}
		if by.Field == crashindex.ByDate {
			order += "submitted" + desc + ", "
		} else {
			order += by.Field + " IS NULL, " + text(by.Field) + desc + ", "
		}
	}
	names := append([]string{"id", "submitted"}, q.Columns...)
	values := make([]sql.NullInt64, len(q.Columns))
	err = s.each(fmt.Sprintf("SELECT %s FROM crash_index WHERE %s ORDER BY %s id LIMIT %d OFFSET %d", strings.Join(names, ", "), s.where, order, q.Limit, q.Offset), s.args, func(scan scan) error {
		var id string
		var submitted int64
		if err := scan(append([]any{&id, &submitted}, pointers(values)...)...); err != nil {
			return err
		}
		hit := crashindex.Hit{ID: crash.ID(id), Submitted: time.UnixMilli(submitted).UTC()}
		for _, v := range values {
			var value crashindex.Value
			if v.Valid {
				value = crashindex.Int(v.Int64)
			}
			hit.Values = append(hit.Values, value)
		}
		hits = append(hits, hit)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Texts are looked up for what is returned only, once each.
	stmt, err := s.tx.PrepareContext(s.ctx, "SELECT text FROM crash_index_values WHERE id = $1")
	if err != nil {
		return nil, err
	}
	defer stmt.Close()
	known := map[int64]crashindex.Value{}
	for i, name := range q.Columns {
		if !slices.Contains(texts, name) {
			continue
		}
		for _, hit := range hits {
			if hit.Values[i].IsNull() {
				continue
			}
			id := hit.Values[i].Int
			if known[id].IsNull() {
				var t string
				if err := stmt.QueryRowContext(s.ctx, id).Scan(&t); err != nil {
					return nil, err
				}
				known[id] = crashindex.Text(t)
			}
			hit.Values[i] = known[id]
		}
	}
	return hits, nil
}

// text is what orders values of the field: their text, not their id.
func text(field string) string {
	if !slices.Contains(texts, field) {
		return field
	}
	return "(SELECT v.text FROM crash_index_values v WHERE v.id = " + field + ")"
}

func (s *search) facet(f crashindex.Facet) (terms []crashindex.Term, err error) {
	of := map[int64]int{} // place in terms, by what the column has
	where := s.where + " AND " + f.Field + " IS NOT NULL"
	isText := slices.Contains(texts, f.Field)
	err = s.each(fmt.Sprintf("SELECT %s, count(*), %s FROM crash_index WHERE %s GROUP BY 1 ORDER BY 2 DESC, 3 LIMIT %d", f.Field, text(f.Field), where, f.Size), s.args, func(scan scan) error {
		var id int64
		var term crashindex.Term
		var value any = &term.Value.Int
		term.Value.Type = crashindex.Integer
		if isText {
			term.Value.Type, value = crashindex.Keyword, &term.Value.Text
		}
		if err := scan(&id, &term.Count, value); err != nil {
			return err
		}
		of[id] = len(terms)
		terms = append(terms, term)
		return nil
	})
	if err != nil || f.Histogram == 0 || len(terms) == 0 {
		return terms, err
	}
	args := slices.Clip(s.args)
	var ids []string
	for id := range of {
		args = append(args, id)
		ids = append(ids, "$"+strconv.Itoa(len(args)))
	}
	q := "SELECT " + f.Field + ", " + bin(f.Histogram) + ", count(*) FROM crash_index WHERE " + where + " AND " + f.Field + " IN (" + strings.Join(ids, ", ") + ") GROUP BY 1, 2 ORDER BY 1, 2"
	err = s.each(q, args, func(scan scan) error {
		var id int64
		b, err := scanBin(func(to ...any) error { return scan(append([]any{&id}, to...)...) }, f.Histogram)
		t := &terms[of[id]]
		t.Histogram = append(t.Histogram, b)
		return err
	})
	return terms, err
}

// bin is the number of the interval that a crash is in, since 1970.
func bin(interval time.Duration) string {
	return fmt.Sprintf("submitted / %d", interval.Milliseconds())
}

func scanBin(scan scan, interval time.Duration) (b crashindex.Bin, err error) {
	var n int64
	err = scan(&n, &b.Count)
	b.Start = time.UnixMilli(n * interval.Milliseconds()).UTC()
	return b, err
}

// count sets Total and Cardinality.
func (s *search) count(q crashindex.Query, r *crashindex.Result) error {
	counts := "count(*)"
	for _, field := range q.Cardinality {
		counts += ", count(DISTINCT " + field + ")"
	}
	n := make([]int, 1+len(q.Cardinality))
	if err := s.tx.QueryRowContext(s.ctx, "SELECT "+counts+" FROM crash_index WHERE "+s.where, s.args...).Scan(pointers(n)...); err != nil {
		return err
	}
	r.Total = n[0]
	if len(n) > 1 {
		r.Cardinality = n[1:]
	}
	return nil
}

type scan func(...any) error

// each calls row for each row.
func (s *search) each(query string, args []any, row func(scan) error) error {
	rows, err := s.tx.QueryContext(s.ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
