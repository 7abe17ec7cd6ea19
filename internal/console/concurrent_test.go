package console

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
)

// TestConcurrentRequestsDoNotInterleave: whatever happens at the same time, each Write is one whole
// block, and each tree has what belongs to it.
func TestConcurrentRequestsDoNotInterleave(t *testing.T) {
	w := watch(t, 80, false, defaultLimits)
	const workers, requests = 16, 25
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range requests {
				oneRequest(t.Context(), w, fmt.Sprintf("r%d-%d", worker, i))
			}
		})
	}
	wg.Wait()
	require.NoError(t, w.provider.Shutdown(t.Context()))

	tree := regexp.MustCompile(`^\S+ TRACE [0-9a-f]{32}  5 spans, 1 failed\n` +
		`(r\d+-\d+)-root .*\n` + `(?:[├└│ ].*\n){6}` + `$`)
	require.False(t, w.overlapped.Load())
	trees, logs := 0, 0
	for _, block := range w.blocks {
		require.True(t, strings.HasSuffix(block, "\n"))
		switch {
		case strings.Contains(block, " TRACE "):
			match := tree.FindStringSubmatch(block)
			require.NotNil(t, match, block)
			require.Equal(t, 7, strings.Count(block, match[1]+"-"), block)
			trees++
		case strings.Contains(block, " INFO "):
			require.Equal(t, 1, strings.Count(block, "\n"), block)
			logs++
		default:
			require.Fail(t, "unexpected block", block)
		}
	}
	require.Equal(t, workers*requests, trees)
	require.Equal(t, 2*workers*requests, logs)
	require.Empty(t, w.traces.nodes)
	require.Empty(t, w.traces.trees)
}

// oneRequest has children that run at the same time and one whose server is in this process.
func oneRequest(ctx context.Context, w *watched, name string) {
	ctx, root := w.tracer.Start(ctx, name+"-root")
	w.logger.InfoContext(ctx, name+"-begin")
	var wg sync.WaitGroup
	for i := range 2 {
		_, span := w.tracer.Start(ctx, fmt.Sprint(name, "-child", i))
		wg.Go(func() { span.End() })
	}
	call, client := w.tracer.Start(ctx, name+"-client")
	inner, server := w.tracer.Start(remote(call), name+"-server")
	w.logger.InfoContext(inner, name+"-inside")
	server.SetStatus(codes.Error, "")
	wg.Go(func() { server.End() })
	client.End()
	wg.Wait()
	root.End()
}

// TestShutdownWhileSpansStartAndEnd loses nothing: each span is in a tree or alone.
func TestShutdownWhileSpansStartAndEnd(t *testing.T) {
	w := watch(t, 80, false, defaultLimits)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				oneRequest(t.Context(), w, fmt.Sprint("r", i))
			}
		})
	}
	require.NoError(t, w.traces.Shutdown(t.Context()))
	wg.Wait()
	require.NoError(t, w.traces.Shutdown(t.Context()))
	require.GreaterOrEqual(t, strings.Count(w.String(), "-root "), 8*200)
	require.Empty(t, w.traces.nodes)
}
