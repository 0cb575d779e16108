package sqlindex

import (
	"context"
	"database/sql"

	"salvage/internal/crashindex"
	"salvage/internal/sqldb"
)

// SetMaxListed changes from how many values on a statement looks for them itself, and returns what undoes that.
func SetMaxListed(n int) (undo func()) {
	old := maxListed
	maxListed = n
	return func() { maxListed = old }
}

// Condition returns the condition of a search and its parameters.
func Condition(db *sqldb.DB, q crashindex.Query) (where string, args []any, err error) {
	err = db.View(context.Background(), func(tx *sql.Tx) error {
		s := search{ctx: context.Background(), tx: tx}
		err := s.condition(q)
		where, args = s.where, s.args
		return err
	})
	return where, args, err
}
