package web

import (
	"database/sql"
	"net/http"

	"salvage/internal/access"
	"salvage/internal/errs"
	"salvage/internal/metadb"
)

const (
	maxSymbols = 100
	maxMissing = 100
	maxQuery   = 200 // bytes
)

type symbolsPage struct {
	base
	Query   string
	Symbols []symbolRow
	Full    bool // there may be more
	Missing []missingRow
	Site    string
}

type symbolRow struct {
	DebugFile, DebugID, CodeID string
	Format, Arch, Gives, Size  string
	Uploaded                   stamp
	Uploader                   string // only for those who are somebody
}

type missingRow struct{ DebugFile, DebugID, CodeID, Crashes string }

func (s *Web) serveSymbols(w http.ResponseWriter, r *http.Request, who access.Principal) error {
	ctx, q := r.Context(), r.URL.Query().Get("q")
	if len(q) > maxQuery {
		return errs.Public(errs.Invalid, "The parameter q is longer than %d bytes.", maxQuery)
	}
	p := symbolsPage{base: s.base(r, who, "Symbols", "/symbols"), Query: q, Site: siteOf(r)}
	var symbols []metadb.Symbol
	err := s.DB.View(ctx, func(tx *sql.Tx) (err error) {
		symbols, err = metadb.RecentSymbols(ctx, tx, q, maxSymbols)
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range symbols {
		row := symbolRow{
			DebugFile: show(f.DebugFile, maxShown), DebugID: show(f.DebugID, 60), CodeID: show(f.CodeID, 60), Format: show(f.Format, 40), Arch: show(f.Arch, 40),
			Gives: gives(&f), Size: size(f.Size), Uploaded: stampOf(f.Uploaded),
		}
		if row.DebugFile == "" {
			row.DebugFile = show(f.CodeFile, maxShown)
		}
		if who != access.Anonymous {
			row.Uploader = show(f.Uploader, 60)
		}
		p.Symbols = append(p.Symbols, row)
	}
	p.Full = len(symbols) == maxSymbols
	missing, err := s.missing(ctx, maxMissing)
	if err != nil {
		return err
	}
	for _, m := range missing {
		name := m.DebugFile
		if name == "" {
			name = m.CodeFile
		}
		p.Missing = append(p.Missing, missingRow{show(name, maxShown), show(m.DebugID, 60), show(m.CodeID, 60), number(m.Crashes)})
	}
	return s.render(w, http.StatusOK, "symbols", p)
}

// gives says what a symbol file is good for.
func gives(f *metadb.Symbol) string {
	names := [...]string{metadb.Poor: "function names", metadb.Fair: "names and lines", metadb.Best: "names, lines and inlines"}[min(max(f.SymRank, 0), metadb.Best)]
	switch {
	case f.Format == metadb.MappingFormat:
		return "names of Java"
	case f.CfiRank == metadb.None && names == "":
		return "nothing"
	case f.CfiRank == metadb.None:
		return names
	case names == "":
		return "unwind rules"
	}
	return names + "; unwind rules"
}
