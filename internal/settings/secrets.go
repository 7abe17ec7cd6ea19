package settings

import (
	"net/url"
	"strings"

	"github.com/fleetotel/telemetry/internal/mask"
)

// Mask returns the mask of what no line may show, even where it repeats the text of another
// program: header values, well-formed or not, and credentials in an endpoint. What the library
// shows anyway, such as a part of an endpoint or the name of the service, is not a secret.
func (r *Resolution) Mask() mask.Mask {
	public := []string{r.Config.ServiceName.Value}
	for _, sc := range r.Config.Signals {
		if sc.Target.URL != nil {
			public = append(public, sc.Target.URL.String())
		}
	}
	return mask.New(append(r.Asked.secrets(), r.env.secrets()...), public...)
}

func (o *Asked) secrets() (all []string) {
	for _, given := range append([]Export{o.Export}, o.Signals[:]...) {
		if given.Headers != nil {
			for _, value := range *given.Headers {
				all = append(all, value)
			}
		}
		if given.Endpoint != nil {
			all = append(all, secretsOfURL(*given.Endpoint)...)
		}
	}
	return all
}

// secrets returns those in variables whose names are correct or nearly correct.
func (e Environment) secrets() (all []string) {
	for name, text := range e {
		switch name = normalizeName(name); {
		case strings.Contains(name, "HEADER"):
			all = append(all, secretsOfHeaders(text)...)
		case strings.Contains(name, "ENDPOINT") && redactURL(text) != text:
			all = append(append(all, text), secretsOfURL(text)...)
		}
	}
	return all
}

// secretsOfHeaders returns the values of a list of headers. A pair without a valid name is a secret
// as a whole. The list is also taken as one pair, because it may be a single value with commas.
func secretsOfHeaders(list string) (all []string) {
	for _, pair := range append(strings.Split(list, ","), list) {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.PathUnescape(value); err == nil {
			all = append(all, plain)
		}
		if strings.Trim(value, "= ") == "" || ValidHeader(strings.TrimSpace(name), "") != nil {
			value = pair
		}
		all = append(all, value)
	}
	return all
}

func secretsOfURL(endpoint string) []string {
	if u, err := url.Parse(endpoint); err == nil && u.User != nil {
		return []string{mask.OfUser(u.User)}
	}
	return nil
}
