package settings

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/fleetotel/telemetry/internal/credential"
	"github.com/fleetotel/telemetry/internal/mask"
)

// nameList is a comma-separated list of known names, without repetitions. Unknown names are ignored
// if a known one remains.
func nameList(known ...string) kind[[]string] {
	return kind[[]string]{
		want:  "must be a comma-separated list of " + strings.Join(known, ", "),
		parse: func(text string) ([]string, error) { return parseNames(text, known) },
		check: func(names []string) error { return checkNames(names, known) },
		show:  func(names []string) string { return strings.Join(names, ",") },
	}
}

func parseNames(text string, known []string) ([]string, error) {
	var names, unknown []string
	for name := range strings.SplitSeq(text, ",") {
		list := &unknown
		if name = strings.ToLower(strings.TrimSpace(name)); slices.Contains(known, name) {
			list = &names
		}
		if name != "" && !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	switch {
	case unknown == nil:
		return names, nil
	case names == nil:
		return unknown, nil // checkNames rejects them
	}
	for i, name := range unknown {
		unknown[i] = fmt.Sprintf("%q", name) + newUnknownName("", name, known).hint
	}
	return names, partialError{fmt.Errorf("%s cannot be used here; %s stays in force", strings.Join(unknown, " and "),
		strings.Join(names, ","))}
}

func checkNames(names, known []string) error {
	for _, name := range names {
		if !slices.Contains(known, name) {
			return newUnknownName(fmt.Sprintf("%q is unknown", name), name, known)
		}
	}
	switch {
	case len(names) == 0:
		return errors.New("it has no name")
	case len(names) > 1 && slices.Contains(names, ExporterNone):
		return errors.New("none cannot be combined with other names")
	}
	return nil
}

// Each known method is a span name and a metric series. The IANA registry has about forty, of which
// the longest has 17 characters.
const (
	maxMethods      = 64
	maxMethodLength = 32
)

// httpMethod is a token (RFC 9110 §9.1 and §5.6.2).
var httpMethod = regexp.MustCompile("^[0-9A-Za-z!#$%&'*+.^_`|~-]+$")

// methodList is a comma-separated list of HTTP methods, without repetitions.
func methodList() kind[[]string] {
	return kind[[]string]{
		want: fmt.Sprintf("must be a comma-separated list of at most %d HTTP methods, each of at most %d characters",
			maxMethods, maxMethodLength),
		parse: func(text string) (methods []string, _ error) {
			for method := range strings.SplitSeq(text, ",") {
				if method = strings.TrimSpace(method); method != "" && !slices.Contains(methods, method) {
					methods = append(methods, method)
				}
			}
			return methods, nil
		},
		check: func(methods []string) error {
			switch {
			case len(methods) == 0:
				return errors.New("it has no method")
			case len(methods) > maxMethods:
				return fmt.Errorf("it has %d methods", len(methods))
			}
			return firstError(methods, checkMethod)
		},
		rest: func(methods []string) ([]string, bool) {
			right, some := withoutErrors(methods, checkMethod)
			return right[:min(len(right), maxMethods)], some
		},
		show: func(methods []string) string { return strings.Join(methods, ",") },
	}
}

func checkMethod(method string) error {
	switch {
	case len(method) > maxMethodLength:
		return fmt.Errorf("%q... is too long", method[:maxMethodLength])
	case !httpMethod.MatchString(method):
		return fmt.Errorf("%q is not a method", method)
	}
	return nil
}

// malformed collects the invalid pairs of a list, by their positions, from 1. Their texts are not
// shown, because each may be half a secret.
type malformed struct {
	places []string
	colons []string // those of pairs with a colon instead of =
}

// yamlPair matches a pair as HTTP and YAML write it. No header name and few attribute keys contain
// a colon.
var yamlPair = regexp.MustCompile(`^\s*[0-9A-Za-z_.-]+\s*:`)

func (m *malformed) add(index int, pair string) {
	place := strconv.Itoa(index + 1)
	m.places = append(m.places, place)
	if yamlPair.MatchString(pair) {
		m.colons = append(m.colons, place)
	}
}

func (m *malformed) err() error {
	switch {
	case m.places == nil:
		return nil
	case m.colons == nil:
		return partialError{fmt.Errorf("pair %s is malformed and left out", strings.Join(m.places, ", "))}
	}
	return partialError{fmt.Errorf("pair %s is malformed and left out; in pair %s `:` should be `=`",
		strings.Join(m.places, ", "), strings.Join(m.colons, ", "))}
}

// headerList is OTEL_EXPORTER_OTLP_HEADERS, a list in the format of baggage. An invalid pair is
// ignored and named only by its position, because its text may be half a secret.
func headerList() kind[map[string]string] {
	return kind[map[string]string]{
		want:   "must be a list of key=value pairs, separated by commas, values percent-encoded",
		secret: true,
		parse: func(text string) (map[string]string, error) {
			headers := map[string]string{}
			var wrong malformed
			for i, pair := range strings.Split(text, ",") {
				if strings.TrimSpace(pair) == "" {
					continue
				}
				name, encoded, found := strings.Cut(pair, "=")
				name = strings.TrimSpace(name)
				value, err := url.PathUnescape(strings.TrimSpace(encoded))
				if _, twice := headers[strings.ToLower(name)]; !found || err != nil || twice ||
					ValidHeader(name, value) != nil {
					wrong.add(i, pair)
					continue
				}
				headers[strings.ToLower(name)] = value
			}
			return headers, wrong.err()
		},
		check: func(headers map[string]string) error {
			seen := map[string]bool{}
			for name, value := range headers {
				if err := ValidHeader(name, value); err != nil {
					return err
				}
				if seen[strings.ToLower(name)] {
					return errors.New("a name is given twice, in different case")
				}
				seen[strings.ToLower(name)] = true
			}
			return nil
		},
		show: func(headers map[string]string) string {
			names := slices.Sorted(maps.Keys(headers))
			for i, name := range names {
				names[i] = shownName(name, headers[name]) + "=" + mask.Hidden
			}
			return strings.Join(names, ",")
		},
	}
}

// shownName hides a header name that may be a part of a secret: a token without a name, whose
// base64 padding looks like an empty value, or the text after a comma in a value that was not
// encoded.
func shownName(name, value string) string {
	if strings.Trim(value, "=") == "" || strings.ContainsAny(name, "0123456789") || len(name) > 40 {
		return mask.Hidden
	}
	return name
}

var (
	headerName  = regexp.MustCompile(`^[0-9A-Za-z_.-]+$`)
	headerValue = regexp.MustCompile(`^[ -~]*$`)
	// reservedHeader belongs to the transport, or means something else over gRPC.
	reservedHeader = regexp.MustCompile(`(?i)^(content-(type|length|encoding)|host|te|connection|transfer-encoding|grpc-.*|.*-bin)$`)
)

// ValidHeader checks that both HTTP and gRPC can carry a header. A service may change its protocol,
// and a header that gRPC rejects fails every export (gRPC over HTTP2, "Custom-Metadata").
func ValidHeader(name, value string) error {
	switch {
	case !headerName.MatchString(name):
		return errors.New("a name has other characters than letters, digits, '-', '_' and '.'")
	case reservedHeader.MatchString(name):
		return fmt.Errorf("%q belongs to the transport", strings.ToLower(name))
	case !headerValue.MatchString(value):
		return errors.New("a value has other characters than printable ASCII")
	}
	return nil
}

// attributeList is OTEL_RESOURCE_ATTRIBUTES. By the specification, one mistake discards the whole
// value (resource/sdk.md, "Specifying resource information via an environment variable"). Here it
// discards only its own pair, so that service.name survives.
func attributeList() kind[[]attribute.KeyValue] {
	return kind[[]attribute.KeyValue]{
		want: "must be a list of key=value pairs, separated by commas, keys and values percent-encoded",
		parse: func(text string) ([]attribute.KeyValue, error) {
			var attrs []attribute.KeyValue
			var wrong malformed
			for i, pair := range strings.Split(text, ",") {
				if strings.TrimSpace(pair) == "" {
					continue
				}
				encodedKey, encodedValue, found := strings.Cut(pair, "=")
				key, keyErr := url.PathUnescape(strings.TrimSpace(encodedKey))
				value, valueErr := url.PathUnescape(strings.TrimSpace(encodedValue))
				if !found || strings.TrimSpace(key) == "" || keyErr != nil || valueErr != nil {
					wrong.add(i, pair)
					continue
				}
				attrs = append(attrs, attribute.String(key, value))
			}
			return attrs, wrong.err()
		},
		check: func(attrs []attribute.KeyValue) error {
			for _, kv := range attrs {
				if !kv.Valid() {
					return fmt.Errorf("attribute %q has no key or no value", kv.Key)
				}
			}
			return nil
		},
		show: func(attrs []attribute.KeyValue) string {
			pairs := make([]string, len(attrs))
			for i, kv := range attrs {
				pairs[i] = string(kv.Key) + "=" + kv.Value.String()
			}
			return strings.Join(pairs, ",")
		},
		add: addItems[attribute.KeyValue],
	}
}

// pemFile is a certificate or key. It is read when the settings are resolved, so that a missing
// file is reported at once.
type pemFile struct {
	path     string
	data     []byte
	replaced bool // by WithTLSConfig
}

// isPEM reports whether text is a key or certificate instead of its path, also in base64, as in a
// Kubernetes secret.
func isPEM(text string) bool {
	return strings.Contains(text, "-----BEGIN") ||
		strings.HasPrefix(text, base64.StdEncoding.EncodeToString([]byte("-----BEGI")))
}

func certificateFile() kind[pemFile] {
	k := keyFile()
	k.want = "must be a PEM file with at least one certificate"
	k.check = func(f pemFile) error {
		if !f.replaced && !x509.NewCertPool().AppendCertsFromPEM(f.data) {
			return errors.New("no certificate in it")
		}
		return nil
	}
	return k
}

func keyFile() kind[pemFile] {
	return kind[pemFile]{
		want: "must be a PEM file with a private key",
		parse: func(path string) (pemFile, error) {
			if isPEM(path) {
				return pemFile{}, errors.New("it is the PEM text itself, not the path of a file")
			}
			data, err := credential.ReadFile(path)
			if failed := (*fs.PathError)(nil); errors.As(err, &failed) { // the path is in the line already
				err = fmt.Errorf("cannot be read (%w)", failed.Err)
			}
			return pemFile{path: path, data: data}, err
		},
		quote: func(text string) string {
			if isPEM(text) {
				return mask.Hidden
			}
			return text
		},
		check: func(pemFile) error { return nil },
		show: func(f pemFile) string {
			if f.replaced {
				return ExporterGiven
			}
			return f.path
		},
	}
}
