package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/fleetotel/telemetry"
)

//go:embed payments.csv
var builtIn []byte

// payment is a line of the file.
type payment struct {
	id, merchant string
	cents        int64
}

// settle reads the payments, pays the merchants and checks the books, each in its own span.
func (r *result) settle(ctx context.Context, set settings) error {
	var payments []payment
	err := telemetry.Do(ctx, "read payments", func(ctx context.Context) (err error) {
		payments, err = read(set.payments)
		trace.SpanFromContext(ctx).SetAttributes(attribute.Int("payments", len(payments)))
		return err
	})
	if err != nil {
		return err
	}
	r.Payments = len(payments)

	var paid int64
	err = telemetry.Do(ctx, "pay merchants", func(ctx context.Context) (err error) {
		paid, err = r.payAll(ctx, payments, set.pace)
		return err
	})
	if err != nil {
		return err
	}
	return telemetry.Do(ctx, "check books", func(context.Context) error { return check(payments, paid) })
}

// payAll pays each merchant the sum of its payments, and returns the total.
func (r *result) payAll(ctx context.Context, payments []payment, pace time.Duration) (paid int64, err error) {
	settled, err := otel.Meter(jobName).Int64Counter("payments.settled",
		metric.WithUnit("{payment}"), metric.WithDescription("Payments that were paid out to their merchant"))
	if err != nil {
		return 0, err
	}
	owed, count := map[string]int64{}, map[string]int64{}
	for _, p := range payments {
		owed[p.merchant] += p.cents
		count[p.merchant]++
	}
	for _, merchant := range slices.Sorted(maps.Keys(owed)) {
		if err := rest(ctx, pace); err != nil {
			return paid, fmt.Errorf("stopped before %s was paid: %w", merchant, err)
		}
		paid += owed[merchant]
		r.Merchants++
		settled.Add(ctx, count[merchant])
		slog.InfoContext(ctx, "merchant paid", "merchant", merchant, "payments", count[merchant], "amount",
			euros(owed[merchant]))
	}
	return paid, nil
}

// rest returns after d, or returns the error of ctx if that ends first.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check compares the amount paid with the amount received, summed in a different way.
func check(payments []payment, paid int64) error {
	for _, p := range payments {
		paid -= p.cents
	}
	if paid != 0 {
		return fmt.Errorf("the books do not balance: %s too much was paid", euros(paid))
	}
	return nil
}

func euros(cents int64) string { return fmt.Sprintf("%d.%02d EUR", cents/100, cents%100) }

// read reads the payments from a file, or the built-in ones.
func read(file string) ([]payment, error) {
	content := builtIn
	if file != "" {
		var err error
		if content, err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	lines := csv.NewReader(bytes.NewReader(content))
	lines.FieldsPerRecord = 3
	if _, err := lines.Read(); err != nil {
		return nil, inFile(file, 1, fmt.Errorf("want the head payment,merchant,amount: %w", err))
	}
	var payments []payment
	for n := 2; ; n++ {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return payments, nil
		}
		if err != nil {
			return nil, inFile(file, n, err)
		}
		amount, err := strconv.ParseFloat(fields[2], 64)
		if err != nil || !(amount > 0 && amount < 1e9) {
			return nil, inFile(file, n, fmt.Errorf("amount %q: want a number above 0 and below 1,000,000,000",
				fields[2]))
		}
		payments = append(payments, payment{fields[0], fields[1], int64(math.Round(amount * 100))})
	}
}

func inFile(file string, line int, err error) error {
	return fmt.Errorf("%s, line %d: %w", cmp.Or(file, "the built-in payments"), line, err)
}
