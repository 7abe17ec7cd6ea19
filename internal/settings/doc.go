// Package settings decides every setting once: options and the environment come in, a [Config]
// comes out.
//
//	options (Asked, filled by the root's With… functions) ─┐
//	environment (Environment, one snapshot) ───────────────┼─ Resolve ─→ Resolution: Config, problems, lines for the log
//	defaults of the profile (Defaults in each row) ────────┘
//
// The table has a row for each setting: its option, its variables, its default in each profile, and
// the reason. To add a setting, add a field to [Config] and a row to table.go (general),
// table_signals.go (once for each signal, batches, limits) or table_redaction.go; docs/settings.md
// and the tests follow the table. The valid values of each type are in kinds.go, kinds_lists.go and
// choices.go. Endpoints and TLS, which depend on several rows, are in endpoint.go. row.go has the
// precedence: valid option > signal-specific variable > general variable > default.
//
// nearmiss.go finds misspelled names, and secrets.go what no line may show. describe.go and
// report.go describe a Config in words.
package settings
