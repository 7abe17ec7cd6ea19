// Package redact masks secrets and payment data in telemetry on its way out of the process: values under sensitive keys,
// and what is sensitive wherever it stands. It knows no exporter and no setting.
//
// # Keys
//
// A key is split into words at everything that is neither letter nor digit, between a lower-case and an upper-case letter,
// and between letters and digits. Case does not matter. The key is sensitive when its last words are a term of the list in
// terms.go: "user.password", "userPassword" and "http.request.header.x-api-key" are, "token_count", "password_reset_sent"
// and "tokens" are not. Words that only say in which form the value stands ("value", "hash", "confirmation", numbers) may
// follow. Of several terms the longest decides, so that "next_page_token" is not a "token".
//
// # Values
//
// In every text these are masked: card numbers, IBANs, JSON Web Tokens, what follows "Bearer" or "Basic", user and
// password of a URL, and values whose sensitive key stands beside them in the text: key=value (query strings, forms,
// connection strings), JSON, header lines, and Go's own %+v.
//
// A number that could be a card's stays if what stands beside it names an identifier (identifier.go), unless it is written in
// card groups.
//
// All of it is one pass without backtracking: the time is linear in the length of the text, and a text without digits
// and punctuation of interest costs one look at each byte.
package redact
