package telemetry

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/fleetotel/telemetry/internal/identity"
	"github.com/fleetotel/telemetry/internal/settings"
)

func TestResourceDescribesTheProcess(t *testing.T) {
	attrs, notices := attributesOf(t, settings.Environment{"OTEL_SERVICE_NAME": "checkout"})
	require.Empty(t, notices)
	for _, key := range []string{
		"service.instance.id", "host.name", "os.type", "process.pid", "process.executable.name", "process.runtime.name",
		"process.runtime.version", "telemetry.sdk.name", "telemetry.sdk.version",
	} {
		require.NotEmpty(t, attrs[key], key)
	}
	require.Equal(t, "checkout", attrs["service.name"])
	for key := range attrs {
		require.NotContains(t, key, "command", "arguments may hold secrets")
	}
	again, _ := attributesOf(t, nil)
	require.NotEqual(t, attrs["service.instance.id"], again["service.instance.id"])
}

func TestResourcePrecedence(t *testing.T) {
	full := settings.Environment{
		"OTEL_RESOURCE_ATTRIBUTES": "service.name=from-attributes,host.name=from-env,service.version=env,team=env,service.instance.id=fixed,k8s.pod.name=env",
		"OTEL_SERVICE_NAME":        "from-variable",
		"K8S_POD_NAME":             "downward",
		"K8S_NODE_NAME":            "node-1",
	}
	attrs, _ := attributesOf(t, full)
	require.Equal(t, "from-variable", attrs["service.name"], "OTEL_SERVICE_NAME is above OTEL_RESOURCE_ATTRIBUTES")
	require.Equal(t, "from-env", attrs["host.name"], "the environment is above the detectors")
	require.Equal(t, "env", attrs["service.version"])
	require.Equal(t, "fixed", attrs["service.instance.id"])
	require.Equal(t, "env", attrs["k8s.pod.name"])
	require.Equal(t, "node-1", attrs["k8s.node.name"])

	attrs, _ = attributesOf(t, full,
		WithResourceAttributes(attribute.String("service.name", "generic"), attribute.String("team", "option")))
	require.Equal(t, "generic", attrs["service.name"], "options are above the environment")
	require.Equal(t, "option", attrs["team"])

	attrs, _ = attributesOf(t, full, WithResourceAttributes(attribute.String("service.name", "generic")),
		WithServiceName("named"), WithServiceVersion("1.2.3"), WithServiceNamespace("shop"),
		WithEnvironment("production"))
	require.Equal(t, "named", attrs["service.name"])
	require.Equal(t, "1.2.3", attrs["service.version"])
	require.Equal(t, "shop", attrs["service.namespace"])
	require.Equal(t, "production", attrs["deployment.environment.name"])
}

func TestAnInvalidServiceNameLeavesTheVariableInForce(t *testing.T) {
	r := resolve(settings.Environment{"OTEL_SERVICE_NAME": "good"}, WithServiceName(" "))
	require.Error(t, r.Err())
	res, _ := identity.Resource(t.Context(), r.Config)
	name, _ := res.Set().Value("service.name")
	require.Equal(t, "good", name.AsString())
}

func TestServiceNameFallsBackToTheBinary(t *testing.T) {
	attrs, notices := attributesOf(t, nil)
	path, err := os.Executable()
	require.NoError(t, err)
	require.Equal(t, filepath.Base(path), attrs["service.name"])
	require.Len(t, notices, 1)
	require.Contains(t, notices[0], "OTEL_SERVICE_NAME")

	_, notices = attributesOf(t, settings.Environment{"OTEL_RESOURCE_ATTRIBUTES": "service.name=a"})
	require.Empty(t, notices)
}

// A template such as service.name=$(NAME) leaves an empty name.
func TestAnEmptyIdentityCountsAsNotSet(t *testing.T) {
	for _, env := range []string{"service.name=", "service.name=%20"} {
		attrs, notices := attributesOf(t, settings.Environment{"OTEL_RESOURCE_ATTRIBUTES": env})
		require.Contains(t, attrs["service.name"], "telemetry.test")
		require.Len(t, notices, 1)
		require.Empty(t, settings.IdentityOrigin(
			resolve(settings.Environment{"OTEL_RESOURCE_ATTRIBUTES": env}).Config, "service.name"))
	}
	attrs, _ := attributesOf(t, settings.Environment{"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,service.instance.id="},
		WithResourceAttributes(attribute.String("service.name", "")))
	require.Equal(t, "a", attrs["service.name"])
	require.NotEmpty(t, attrs["service.instance.id"])
}

func TestDetectorOptionReachesTheResource(t *testing.T) {
	found := detector(func(context.Context) (*resource.Resource, error) {
		return resource.NewSchemaless(attribute.String("cloud.region", "north"),
			attribute.String("service.name", "detected"),
			attribute.String("service.instance.id", "pod-7")), nil
	})
	attrs, _ := attributesOf(t, settings.Environment{"OTEL_SERVICE_NAME": "named"}, WithResourceDetectors(nil),
		WithResourceDetectors(found))
	require.Equal(t, "north", attrs["cloud.region"])
	require.Equal(t, "pod-7", attrs["service.instance.id"], "what is detected goes before what is made up")
	require.Equal(t, "named", attrs["service.name"], "what was given goes before what is detected")
}

func attributesOf(t *testing.T, env settings.Environment, opts ...Option) (attrs map[string]any, notices []string) {
	t.Helper()
	r := resolve(env, opts...)
	require.NoError(t, r.Err())
	res, lines := identity.Resource(t.Context(), r.Config)
	require.Empty(t, res.SchemaURL())
	attrs = map[string]any{}
	for _, kv := range res.Attributes() {
		attrs[string(kv.Key)] = kv.Value.AsInterface()
	}
	for _, line := range lines {
		notices = append(notices, line.Text())
	}
	return attrs, notices
}

type detector func(context.Context) (*resource.Resource, error)

func (d detector) Detect(ctx context.Context) (*resource.Resource, error) { return d(ctx) }
