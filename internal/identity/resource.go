package identity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/fleetotel/telemetry/internal/contain"
	"github.com/fleetotel/telemetry/internal/encodable"
	"github.com/fleetotel/telemetry/internal/lines"
	"github.com/fleetotel/telemetry/internal/settings"
)

// detectorTimeout limits each detector. A detector that ignores its context is abandoned in its
// goroutine.
const detectorTimeout = 2 * time.Second

// Resource builds the resource of this process. Later sources win: detectors, Kubernetes variables,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME, options. notices names each detector that failed;
// the other attributes are used. Schema URLs are dropped, so that they cannot conflict.
func Resource(ctx context.Context, c *settings.Config) (res *resource.Resource, notices []lines.Line) {
	detected, notices := detect(ctx, append(standardDetectors(), c.Asked.Detectors...))
	attrs := append([]attribute.KeyValue{semconv.ServiceInstanceID(uuid.NewString())}, detected...)
	for i, v := range settings.KubernetesVariables {
		if value := c.Kubernetes[i].Value; value != "" {
			attrs = append(attrs, attribute.String(v.Attribute, value))
		}
	}
	attrs = append(attrs, c.EnvAttributes.Value...)
	nameByOption := ""
	if lines.IsOption(c.ServiceName.Origin) {
		nameByOption = c.ServiceName.Value
	} else if c.ServiceName.Value != "" {
		attrs = append(attrs, semconv.ServiceName(c.ServiceName.Value))
	}
	attrs = append(attrs, c.ResourceAttributes.Value...)
	for key, value := range map[attribute.Key]string{
		semconv.ServiceNameKey:               nameByOption,
		semconv.ServiceVersionKey:            c.ServiceVersion.Value,
		semconv.ServiceNamespaceKey:          c.ServiceNamespace.Value,
		semconv.DeploymentEnvironmentNameKey: c.Environment.Value,
	} {
		if value != "" {
			attrs = append(attrs, key.String(value))
		}
	}
	attrs = slices.DeleteFunc(attrs, settings.EmptyIdentity)
	res = resource.NewSchemaless(attrs...)
	if _, ok := res.Set().Value(semconv.ServiceNameKey); !ok {
		name := binaryName()
		if settings.InspectionOf(ctx).Described == nil { // cmd/telemetry is not the service's binary
			notices = append(notices, lines.NoServiceName(name))
		}
		res = resource.NewSchemaless(append(attrs, semconv.ServiceName(name))...)
	}
	return encodable.Resource(encodable.Limits{Length: encodable.MaxText}.Resource(res)), notices
}

// binaryName is the fallback of service.name. The specification's is unknown_service:<binary>.
// People look for the bare name in a list of services.
func binaryName() string {
	path, err := os.Executable()
	if err != nil {
		return "unknown_service:go"
	}
	return strings.TrimSuffix(filepath.Base(path), ".exe")
}

// standardDetectors omit the command line, whose arguments may contain secrets, and the owner,
// which cannot be determined in a container without a password file.
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

// namedDetector is one of the library's own detectors. Its name is for the line about its failure.
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

// detect runs all detectors in parallel and returns what each found, in their order.
func detect(ctx context.Context, detectors []resource.Detector) (attrs []attribute.KeyValue, notices []lines.Line) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), detectorTimeout)
	defer cancel()
	type outcome struct {
		res *resource.Resource
		err error
	}
	results := make([]chan outcome, len(detectors))
	for i, d := range detectors {
		results[i] = make(chan outcome, 1) // buffered for a detector that returns too late
		go func() {
			var o outcome
			defer func() { results[i] <- o }() // also after runtime.Goexit
			o.err = contain.Catch(func() (err error) { o.res, err = d.Detect(ctx); return err })
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
				o.err = fmt.Errorf("no answer within %v; its goroutine was abandoned", detectorTimeout)
			}
		}
		if o.err != nil {
			notices = append(notices, lines.DetectorFailed(detectorName(d), o.err))
		}
		if o.res != nil {
			attrs = append(attrs, o.res.Attributes()...)
		}
	}
	return attrs, notices
}
