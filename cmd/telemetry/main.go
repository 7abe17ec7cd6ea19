// Command telemetry checks whether the data of a service would arrive. Run it where the service
// runs, with the service's environment.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

const usage = `Usage: telemetry check [-timeout 10s] [endpoint]

Prints what a service started with this environment would do: where each signal goes, and the
settings that differ from the defaults. Then it probes the endpoints, sends one span, one metric
and one log record, and reports whether each was delivered, and if not, what to change.

With an endpoint, such as http://localhost:4318, all signals go there, regardless of the
environment. The spool is not touched.

  -timeout duration
        how long to try to deliver (default 10s); with a longer one the command waits for a
        collector that is about to start

Below "Does it arrive?", each of traces, metrics and logs has a line that begins with
  delivered       the collector accepted it
  not delivered   it did not get that far
  rejected        the collector answered, and refused it
  not sent        the settings turn it off
If that takes long, a line in parentheses says what the command is waiting for.
Lines are at most 80 characters long, unless a word is longer, such as a URL.

Exit status
  0  everything that should be sent was delivered
  1  something was not, or a setting is invalid
  2  the command line is wrong
`

const (
	exitDelivered = iota
	exitNotDelivered
	exitUsage
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its inputs as parameters. It returns the exit status.
func run(ctx context.Context, args []string, out, diagnostics io.Writer) int {
	if len(args) == 0 {
		return wrongUsage(diagnostics, "missing command")
	}
	switch args[0] {
	case "check":
		return checkCommand(ctx, args[1:], out, diagnostics)
	case "-h", "-help", "--help", "help":
		fmt.Fprint(out, usage)
		return exitDelivered
	}
	return wrongUsage(diagnostics, fmt.Sprintf("unknown command %q", args[0]))
}

func checkCommand(ctx context.Context, args []string, out, diagnostics io.Writer) int {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	timeout := 10 * time.Second
	flags.Func("timeout", "", func(text string) (err error) {
		timeout, err = parseTimeout(text)
		return err
	})
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return exitDelivered
	case err != nil:
		return wrongUsage(diagnostics, err.Error())
	case timeout <= 0:
		return wrongUsage(diagnostics, fmt.Sprintf("-timeout %s: must be above zero, such as 10s", timeout))
	case flags.NArg() > 1:
		return wrongUsage(diagnostics,
			fmt.Sprintf("got %d arguments after the flags; give at most one endpoint", flags.NArg()))
	}
	c := check{out: out, endpoint: flags.Arg(0), timeout: timeout}
	if c.run(ctx) {
		return exitDelivered
	}
	return exitNotDelivered
}

func parseTimeout(text string) (time.Duration, error) {
	timeout, err := time.ParseDuration(text)
	if _, notNumber := strconv.ParseFloat(text, 64); err != nil && notNumber == nil {
		return 0, fmt.Errorf("the unit is missing; write %ss", text)
	}
	if err != nil {
		return 0, errors.New("write a number with its unit, such as 10s")
	}
	return timeout, nil
}

func wrongUsage(w io.Writer, problem string) int {
	fmt.Fprintf(w, "telemetry: %s\n\n%s", problem, usage)
	return exitUsage
}
