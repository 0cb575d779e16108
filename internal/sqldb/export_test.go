package sqldb

import (
	"context"
	"database/sql"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// MigrateTo makes a database of an older version.
func MigrateTo(ctx context.Context, name string, version int64) (versions []int64, err error) {
	d, err := openSQLite(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, d.write, dir)
	if err != nil {
		return nil, err
	}
	for _, s := range p.ListSources() {
		versions = append(versions, s.Version)
	}
	if version > 0 {
		_, err = p.UpTo(ctx, version)
	}
	return versions, err
}

func (d *DB) Pools() (write, read *sql.DB) { return d.write, d.read }
