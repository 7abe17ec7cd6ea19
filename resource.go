package telemetry

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fleetotel/telemetry/internal/diagnose"
	"github.com/fleetotel/telemetry/internal/encodable"
	internallogs "github.com/fleetotel/telemetry/internal/logs"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// detectorTimeout bounds each detector. A detector that ignores its context is left behind after it.
const detectorTimeout = 2 * time.Second

const kubernetesCount = 6

// kubernetesVariables are filled by the downward API of Kubernetes.
var kubernetesVariables = [kubernetesCount]struct{ env, attribute string }{
	{"K8S_POD_NAME", string(semconv.K8SPodNameKey)},
	{"K8S_POD_UID", string(semconv.K8SPodUIDKey)},
	{"K8S_NAMESPACE_NAME", string(semconv.K8SNamespaceNameKey)},
	{"K8S_NODE_NAME", string(semconv.K8SNodeNameKey)},
	{"K8S_CONTAINER_NAME", string(semconv.K8SContainerNameKey)},
	{"K8S_DEPLOYMENT_NAME", string(semconv.K8SDeploymentNameKey)},
}

// buildResource says who this process is. Later sources win: detectors, Kubernetes variables,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME, options. Whatever fails is named in notices and the rest is used; no
// attribute carries a schema URL, so that none can conflict.
func buildResource(ctx context.Context, c *config) (res *resource.Resource, notices []string) {
	detected, notices := detect(ctx, append(standardDetectors(), c.opts.detectors...))
	attrs := append([]attribute.KeyValue{semconv.ServiceInstanceID(uuid.NewString())}, detected...)
	for i, v := range kubernetesVariables {
		if value := c.kubernetes[i].value; value != "" {
			attrs = append(attrs, attribute.String(v.attribute, value))
		}
	}
	attrs = append(attrs, c.envAttributes.value...)
	nameByOption := ""
	if isOption(c.serviceName.origin) {
		nameByOption = c.serviceName.value
	} else if c.serviceName.value != "" {
		attrs = append(attrs, semconv.ServiceName(c.serviceName.value))
	}
	attrs = append(attrs, c.resourceAttributes.value...)
	for key, value := range map[attribute.Key]string{
		semconv.ServiceNameKey:               nameByOption,
		semconv.ServiceVersionKey:            c.serviceVersion.value,
		semconv.ServiceNamespaceKey:          c.serviceNamespace.value,
		semconv.DeploymentEnvironmentNameKey: c.environment.value,
	} {
		if value != "" {
			attrs = append(attrs, key.String(value))
		}
	}
	res = resource.NewSchemaless(attrs...)
	if _, ok := res.Set().Value(semconv.ServiceNameKey); !ok {
		name := binaryName()
		if diagnose.InspectionOf(ctx).Described == nil { // cmd/telemetry is another binary than the service's
			notices = append(notices, fmt.Sprintf("service.name is not set; using the binary's name %q. Set OTEL_SERVICE_NAME or use WithServiceName", name))
		}
		res = resource.NewSchemaless(append(attrs, semconv.ServiceName(name))...)
	}
	return encodable.Resource(encodable.Limits{Length: encodable.MaxText}.Resource(res)), notices
}

// binaryName is the fallback of service.name. The specification's is unknown_service:<binary>; the bare name is what a
// person looks for in a list of services.
func binaryName() string {
	path, err := os.Executable()
	if err != nil {
		return "unknown_service:go"
	}
	return strings.TrimSuffix(filepath.Base(path), ".exe")
}

// standardDetectors leave out the command line, whose arguments may hold secrets, and the owner, whom a container without
// a password file cannot name.
func standardDetectors() []resource.Detector {
	return []resource.Detector{
		detectorFunc("build", detectBuild),
		detectorFunc("host", detectWith(resource.WithHost())),
		detectorFunc("operating system", detectWith(resource.WithOS())),
		detectorFunc("process", detectWith(
			resource.WithProcessPID(), resource.WithProcessExecutableName(), resource.WithProcessExecutablePath(),
			resource.WithProcessRuntimeName(), resource.WithProcessRuntimeVersion(),
			resource.WithProcessRuntimeDescription())),
		detectorFunc("SDK", detectWith(resource.WithTelemetrySDK())),
		detectorFunc("container", detectContainer),
	}
}

// namedDetector is one of the library's own, with the name that its failure is reported under.
type namedDetector struct {
	name string
	run  func(context.Context) (*resource.Resource, error)
}

func detectorFunc(name string, run func(context.Context) (*resource.Resource, error)) resource.Detector {
	return namedDetector{name, run}
}

func (d namedDetector) Detect(ctx context.Context) (*resource.Resource, error) { return d.run(ctx) }

func detectorName(d resource.Detector) string {
	if named, ok := d.(namedDetector); ok {
		return named.name
	}
	return fmt.Sprintf("%T", d)
}

func detectWith(opts ...resource.Option) func(context.Context) (*resource.Resource, error) {
	return func(ctx context.Context) (*resource.Resource, error) { return resource.New(ctx, opts...) }
}

func detectContainer(context.Context) (*resource.Resource, error) {
	id := containerID(os.DirFS("/"))
	if id == "" {
		return nil, nil
	}
	return resource.NewSchemaless(semconv.ContainerID(id)), nil
}

func detectBuild(context.Context) (*resource.Resource, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, nil
	}
	return resource.NewSchemaless(buildAttributes(info)...), nil
}

func buildAttributes(info *debug.BuildInfo) []attribute.KeyValue {
	var attrs []attribute.KeyValue
	if v := info.Main.Version; v != "" && v != "(devel)" {
		attrs = append(attrs, semconv.ServiceVersion(v))
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			attrs = append(attrs, semconv.VCSRefHeadRevision(s.Value))
		}
	}
	return attrs
}

// detect runs every detector at the same time and keeps what each found, in the order of the detectors.
func detect(ctx context.Context, detectors []resource.Detector) (attrs []attribute.KeyValue, notices []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), detectorTimeout)
	defer cancel()
	type outcome struct {
		res *resource.Resource
		err error
	}
	results := make([]chan outcome, len(detectors))
	for i, d := range detectors {
		results[i] = make(chan outcome, 1) // room for a detector that answers after nobody waits any more
		if isNil(d) {
			results[i] <- outcome{}
			continue
		}
		go func() {
			var o outcome
			defer func() {
				if p := recover(); p != nil {
					o.err = fmt.Errorf("panic: %s", internallogs.Text(p))
				}
				results[i] <- o
			}()
			o.res, o.err = d.Detect(ctx)
		}()
	}
	for i, d := range detectors {
		var o outcome
		select {
		case o = <-results[i]:
		case <-ctx.Done():
			select {
			case o = <-results[i]:
			default:
				o.err = fmt.Errorf("no answer within %v; it was abandoned", detectorTimeout)
			}
		}
		if o.err != nil {
			notices = append(notices, fmt.Sprintf("resource detector %s: %v; the other attributes are used", detectorName(d), o.err))
		}
		if o.res != nil {
			attrs = append(attrs, o.res.Attributes()...)
		}
	}
	return attrs, notices
}
