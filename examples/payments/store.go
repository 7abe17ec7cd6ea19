package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	_ "modernc.org/sqlite" // the "sqlite" driver, in pure Go
)

// payment is one row of the database. Amounts are in cents, so that sums are exact.
type payment struct {
	ID            string
	Cents         int64
	Currency      string
	Card          string // the token to charge; never stored
	Authorization string // the gateway's authorization id
	Created       time.Time
}

// store keeps payments in a SQLite file. otelsql wraps the driver, so each statement is a client
// span; the code uses database/sql as usual.
type store struct{ db *sql.DB }

var errNotFound = errors.New("no such payment")

const schema = `CREATE TABLE IF NOT EXISTS payments (
	id            TEXT PRIMARY KEY,
	amount_cents  INTEGER NOT NULL,
	currency      TEXT NOT NULL,
	authorization TEXT NOT NULL,
	created_at    INTEGER NOT NULL
)`

func openStore(ctx context.Context, file string) (*store, error) {
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"journal_mode(WAL)", "busy_timeout(5000)"},
	}.Encode()}
	db, err := otelsql.Open("sqlite", dsn.String(),
		otelsql.WithAttributes(attribute.String("db.system.name", "sqlite")),
		otelsql.WithSpanNameFormatter(statementName),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			// One span for each statement. Spans for connecting, resetting and reading rows would
			// bury them.
			OmitConnectorConnect: true,
			OmitConnResetSession: true,
			OmitConnPrepare:      true,
			OmitRows:             true,
			// Work outside of a request, such as creating the table, must not start a trace.
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanContextFromContext(ctx).IsValid()
			},
		}))
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", file, err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer; waiting here is cheaper than SQLITE_BUSY
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("create table in %s: %w", file, err), db.Close())
	}
	return &store{db}, nil
}

// statementName returns a name such as "INSERT payments": the verb and the table, as in the
// semantic conventions.
func statementName(_ context.Context, method otelsql.Method, query string) string {
	verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	if verb == "" {
		return string(method)
	}
	return verb + " payments"
}

func (s *store) save(ctx context.Context, p payment) error {
	_, err := s.db.ExecContext(ctx,
		`INSERT INTO payments (id, amount_cents, currency, authorization, created_at) VALUES (?, ?, ?, ?, ?)`,
		p.ID, p.Cents, p.Currency, p.Authorization, p.Created.UnixMilli())
	if err != nil {
		return fmt.Errorf("save payment %s: %w", p.ID, err)
	}
	return nil
}

// find returns errNotFound for an unknown id.
func (s *store) find(ctx context.Context, id string) (payment, error) {
	p := payment{ID: id}
	var created int64
	err := s.db.QueryRowContext(ctx,
		`SELECT amount_cents, currency, authorization, created_at FROM payments WHERE id = ?`, id).
		Scan(&p.Cents, &p.Currency, &p.Authorization, &created)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return p, errNotFound
	case err != nil:
		return p, fmt.Errorf("find payment %s: %w", id, err)
	}
	p.Created = time.UnixMilli(created).UTC()
	return p, nil
}

func (s *store) close() error { return s.db.Close() }
