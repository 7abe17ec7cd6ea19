package checkout

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/XSAM/otelsql"
	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	_ "modernc.org/sqlite" // the "sqlite" driver, in pure Go
)

// orders is the table of that name, in SQLite or PostgreSQL. otelsql wraps the driver, so each
// statement is a client span; the code uses database/sql as usual.
type orders struct {
	db     *sql.DB
	insert string
}

const schema = `CREATE TABLE IF NOT EXISTS orders (
	id            TEXT PRIMARY KEY,
	product       TEXT NOT NULL,
	cents         BIGINT NOT NULL,
	"authorization" TEXT NOT NULL,
	placed_at     BIGINT NOT NULL
)`

// openOrders opens DATABASE_URL: sqlite:PATH, a postgres:// URL, or "" for a file in the working
// directory. If the database is still starting, it retries to create its table until ctx ends, for
// at most half a minute.
func openOrders(ctx context.Context, databaseURL string) (*orders, error) {
	scheme, path, _ := strings.Cut(cmp.Or(databaseURL, "sqlite:orders.db"), ":")
	var o *orders
	var err error
	switch scheme {
	case "sqlite":
		o, err = openSQLite(path)
	case "postgres", "postgresql":
		o, err = openPostgres(databaseURL)
	default:
		return nil, fmt.Errorf("DATABASE_URL has the scheme %q: want sqlite:PATH or postgres://…", scheme)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		_, err := o.db.ExecContext(ctx, schema)
		if err == nil {
			return o, nil
		}
		slog.WarnContext(ctx, "the database is not ready", "error", err)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("DATABASE_URL: make the table orders: %w", err), o.db.Close())
		}
	}
}

func openSQLite(path string) (*orders, error) {
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"journal_mode(WAL)", "synchronous(NORMAL)", "busy_timeout(5000)"},
	}.Encode()}
	db, err := otelsql.Open("sqlite", dsn.String(), traced(semconv.DBSystemNameSQLite.Value.AsString())...)
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer; waiting here is cheaper than SQLITE_BUSY
	return &orders{db, `INSERT INTO orders VALUES (?, ?, ?, ?, ?)`}, nil
}

func openPostgres(databaseURL string) (*orders, error) {
	db, err := otelsql.Open("pgx", databaseURL, traced(semconv.DBSystemNamePostgreSQL.Value.AsString())...)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err) // without the URL, which may contain a password
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return &orders{db, `INSERT INTO orders VALUES ($1, $2, $3, $4, $5)`}, nil
}

// traced makes one span for each statement of a request. It makes none for connecting, resetting
// and reading rows, which would bury the others. Statements outside of a request must not begin
// traces.
func traced(system string) []otelsql.Option {
	return []otelsql.Option{
		otelsql.WithAttributes(semconv.DBSystemNameKey.String(system)),
		otelsql.WithSpanNameFormatter(func(_ context.Context, method otelsql.Method, query string) string {
			verb, _, _ := strings.Cut(query, " ")
			return cmp.Or(verb, string(method)) + " orders" // the operation and the table, by the semantic conventions
		}),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			OmitConnectorConnect: true, OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true,
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanContextFromContext(ctx).IsValid()
			},
		}),
	}
}

func (o *orders) save(ctx context.Context, placed order) error {
	_, err := o.db.ExecContext(ctx, o.insert,
		placed.ID, placed.Product, placed.Cents, placed.Authorization, time.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("save order %s: %w", placed.ID, err)
	}
	return nil
}
