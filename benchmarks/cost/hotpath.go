package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fleetotel/telemetry/benchmarks/internal/report"
)

// batchPackage has the benchmarks of OnEnd and OnEmit beside the code they measure.
const batchPackage = "github.com/fleetotel/telemetry/internal/batch"

// figures are one line of a Go benchmark.
type figures struct{ nanos, bytes, allocs float64 }

// hotPath runs the benchmarks of package batch round by round, and prints stock beside ours. A
// benchmark's own -count would repeat one side before it begins with the other.
func hotPath(out io.Writer, s settings) error {
	dir, err := os.MkdirTemp("", "cost-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // the system's to clean
	binary := filepath.Join(dir, "batch.test")
	if output, err := exec.Command("go", "test", "-c", "-o", binary, batchPackage).CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s: %w\n%s", batchPackage, err, output)
	}
	all := map[string][]figures{}
	for range s.rounds {
		cmd := exec.Command(binary, "-test.run=^$", "-test.bench=^Benchmark(OnEnd|OnEmit)$/^(taken|full)$",
			"-test.benchmem", "-test.benchtime="+s.bench.String())
		output, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("benchmarks of %s: %w\n%s", batchPackage, err, output)
		}
		for name, f := range parseBenchmarks(output) {
			all[name] = append(all[name], f)
		}
	}
	return hotPathTable(out, all)
}

// parseBenchmarks reads lines such as "BenchmarkOnEnd/taken/1/stock-2 100 99.1 ns/op 1.0 taken/op 0
// B/op 0 allocs/op".
func parseBenchmarks(output []byte) map[string]figures {
	found := map[string]figures{}
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if dash := strings.LastIndexByte(name, '-'); dash > strings.LastIndexByte(name, '/') {
			name = name[:dash] // the number of processors
		}
		var f figures
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				continue
			}
			switch fields[i+1] {
			case "ns/op":
				f.nanos = value
			case "B/op":
				f.bytes = value
			case "allocs/op":
				f.allocs = value
			}
		}
		found[name] = f
	}
	return found
}

func hotPathTable(out io.Writer, all map[string][]figures) error {
	pick := func(name string, figure func(figures) float64) (values []float64) {
		for _, f := range all[name] {
			values = append(values, figure(f))
		}
		return values
	}
	nanos := func(f figures) float64 { return f.nanos }
	var table report.Table
	table.Row("call", "queue", "goroutines", "stock ns", "ours ns", "ours ÷ stock", "stock B, allocs", "ours B, allocs")
	for _, call := range []string{"OnEnd", "OnEmit"} {
		for _, mode := range []string{"taken", "full"} {
			for _, goroutines := range []string{"1", "2"} {
				prefix := call + "/" + mode + "/" + goroutines + "/"
				stock, ours := pick(prefix+"stock", nanos), pick(prefix+"ours", nanos)
				if len(stock) == 0 || len(ours) != len(stock) {
					return fmt.Errorf("no benchmark %s", prefix)
				}
				memory := func(name string) string {
					return fmt.Sprintf("%.0f, %.0f",
						report.Median(pick(name, func(f figures) float64 { return f.bytes })),
						report.Median(pick(name, func(f figures) float64 { return f.allocs })))
				}
				table.Row(call, mode, goroutines, fmt.Sprintf("%.0f", report.Median(stock)),
					fmt.Sprintf("%.0f", report.Median(ours)),
					strconv.FormatFloat(ratio(ours, stock), 'f', 2, 64), memory(prefix+"stock"), memory(prefix+"ours"))
			}
		}
	}
	table.Write(out)
	fmt.Fprintln(out, "\nThe call that ends a span, or emits a record, with queue and batch of 8,192 and 1,024 on "+
		"both sides. taken: the item\nfinds a place; full: the exporter hangs and the item is dropped.")
	return nil
}
