package identity

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
)

func TestBuildAttributes(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.4.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}
	require.ElementsMatch(t, []attribute.KeyValue{attribute.String("service.version", "v1.4.0"),
		attribute.String("vcs.ref.head.revision", "abc")}, buildAttributes(info))
	require.Empty(t, buildAttributes(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}))
}

type detectorOf func(context.Context) (*resource.Resource, error)

func (d detectorOf) Detect(ctx context.Context) (*resource.Resource, error) { return d(ctx) }

func TestDetectorsAreBoundedAndIsolated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		good := func(schema, key string) detectorOf {
			return func(context.Context) (*resource.Resource, error) {
				return resource.NewWithAttributes(schema, attribute.String(key, "found")), nil
			}
		}
		detectors := []resource.Detector{
			good("https://opentelemetry.io/schemas/1.1.0", "one"),
			detectorOf(func(context.Context) (*resource.Resource, error) { panic("broken detector") }),
			detectorOf(func(context.Context) (*resource.Resource, error) { <-released; return nil, nil }),
			detectorOf(func(ctx context.Context) (*resource.Resource, error) { <-ctx.Done(); return nil, ctx.Err() }),
			detectorOf(func(context.Context) (*resource.Resource, error) {
				return resource.NewSchemaless(attribute.String("half", "found")), errors.New("only half of it")
			}),
			good("https://opentelemetry.io/schemas/1.2.0", "two"),
		}
		begin := time.Now()
		attrs, notices := detect(t.Context(), detectors)
		require.LessOrEqual(t, time.Since(begin), detectorTimeout)
		close(released)

		var keys []string
		for _, kv := range attrs {
			keys = append(keys, string(kv.Key))
		}
		require.Equal(t, []string{"one", "half", "two"}, keys,
			"conflicting schema URLs do not matter, partial results count")
		all := fmt.Sprint(notices)
		for _, part := range []string{"panic: broken detector", "abandoned", "only half of it"} {
			require.Contains(t, all, part)
		}
		require.Contains(t, all, "identity.detectorOf", "a service's detector is named")
		synctest.Wait()
	})
}
