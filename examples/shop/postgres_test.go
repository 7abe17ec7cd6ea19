//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/fleetotel/telemetry/internal/otlptest"
)

// The shop as it is in production: with PostgreSQL. One order is one trace, and under load
// everything adds up.
func TestPostgreSQL(t *testing.T) {
	url := startPostgres(t)
	t.Setenv("DATABASE_URL", url)
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer db.Close()
	rows := func() (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM orders").Scan(&n))
		return n
	}

	collector := otlptest.New(t)
	f := startTestFleet(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.HTTPEndpoint())
	status, traceID, err := f.order(t.Context(), "mug", "card_good")
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, status)
	require.NoError(t, f.stop())
	requireOneTrace(t, collector, traceID, "postgresql")
	require.Equal(t, 1, rows())

	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "did.json")
	require.NoError(t, run(t.Context(), &out, []string{"-duration", "2s", "-compare=false", "-json", file}), "%s", &out)
	did := readResult(t, file)
	require.Equal(t, 1+did.Load.Ordered-did.Load.Declined, rows())
}

// startPostgres starts a PostgreSQL server of its own for the test, as a user without privileges,
// since it refuses to run as root. It listens on a free port of 127.0.0.1 and keeps its files in a
// directory that goes with the test.
func startPostgres(t *testing.T) (url string) {
	t.Helper()
	initdb, server := postgresBinaries(t)
	dir, err := os.MkdirTemp("", "shop-pg-") // short: the path of a Unix socket has 107 bytes at most
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	who := unprivileged(t)
	if who != nil {
		require.NoError(t, os.Chown(dir, int(who.Uid), int(who.Gid)))
	}
	command := func(program string, args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: who}
		cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
		return cmd
	}
	data := filepath.Join(dir, "data")
	out, err := command(initdb, "-D", data, "-U", "shop", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput()
	require.NoError(t, err, "%s", out)

	host, port, err := net.SplitHostPort(otlptest.FreeAddress(t))
	require.NoError(t, err)
	var log bytes.Buffer
	cmd := command(server, "-D", data, "-k", dir, "-h", host, "-p", port, "-c", "fsync=off")
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // its fast shutdown
		<-ended
	})
	url = fmt.Sprintf("postgres://shop@%s:%s/postgres?sslmode=disable", host, port)
	if !waitPostgres(t, url, ended) {
		<-ended
		t.Fatalf("PostgreSQL has ended: %s", &log)
	}
	return url
}

// postgresBinaries finds Debian's, the newest, or those in the PATH. In CI they must be there:
// .ci/run installs them.
func postgresBinaries(t *testing.T) (initdb, server string) {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	require.NoError(t, err)
	slices.Sort(found)
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	for _, server := range slices.Backward(found) {
		initdb := filepath.Join(filepath.Dir(server), "initdb")
		if _, err := os.Stat(initdb); err == nil {
			return initdb, server
		}
	}
	missing := "PostgreSQL is not installed: want initdb and postgres, as in Debian's package postgresql"
	if ci := os.Getenv("CI"); ci != "" && ci != "false" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return "", ""
}

// unprivileged is the user for PostgreSQL, or nil for the user who runs the test.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		require.NoError(t, errors.Join(uidErr, gidErr))
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("there is neither a user postgres nor a user nobody to run PostgreSQL as")
	return nil
}

func waitPostgres(t *testing.T, url string, ended <-chan struct{}) bool {
	t.Helper()
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return true
		}
		select {
		case <-ended:
			return false
		case <-ctx.Done():
			t.Fatalf("PostgreSQL does not answer: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
