package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Token is a bearer token in a file, such as the one of a Kubernetes service account, which the
// kubelet renews.
type Token struct{ file renewed[string] }

// NewToken returns the token of a file, which need not exist yet. calls reads the file. onError is
// called, concurrently, with the error of a file that was good before.
func NewToken(path string, calls *Calls, onError func(error)) *Token {
	return &Token{renewed[string]{
		paths:   []string{path},
		onError: onError,
		calls:   calls,
		parse: func(contents [][]byte) (string, error) {
			token := string(bytes.TrimSpace(contents[0]))
			switch {
			case token == "":
				return "", fmt.Errorf("the token file %s is empty", path)
			case strings.ContainsFunc(token, func(r rune) bool { return r <= 0x20 || r > 0x7e }):
				// not shown: it may be a secret
				return "", fmt.Errorf("the token file %s holds white space or characters that a header must not "+
					"have: expected one token", path)
			}
			return token, nil
		},
	}}
}

// Headers returns the headers of a request that is sent now.
func (t *Token) Headers(ctx context.Context) (map[string]string, error) {
	token, err := t.file.get(ctx)
	if unread := (*fs.PathError)(nil); errors.As(err, &unread) { // it names the file, but not its purpose
		return nil, fmt.Errorf("the token file: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}
