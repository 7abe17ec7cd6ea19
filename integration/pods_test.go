package integration

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The grace that Kubernetes gives covers all that a service does after SIGTERM.
func TestServicesHaveTheTimeToStop(t *testing.T) {
	drain := sourceDuration(t, "examples/shop/internal/platform/run.go", `drainTimeout = (\d+) \* time\.Second`)
	for _, w := range render(t).shop() {
		preStop := w.container().Lifecycle.PreStop.Sleep.Seconds
		telemetry, err := strconv.Atoi(w.env()["TELEMETRY_SHUTDOWN_TIMEOUT"])
		require.NoError(t, err)
		need := time.Duration(preStop)*time.Second + 2*drain + time.Duration(telemetry)*time.Millisecond
		require.Greater(t, time.Duration(*w.template.Spec.TerminationGracePeriodSeconds)*time.Second, need, w.Name)
	}
}

// The variables of the downward API are exactly those that the library's resource detection reads.
func TestServicesSayWhereTheyRun(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(repository, "internal", "settings", "table.go"))
	require.NoError(t, err)
	read := regexp.MustCompile(`\{"(K8S_[A-Z_]+)",`).FindAllStringSubmatch(string(source), -1)
	require.NotEmpty(t, read)
	var want []string
	for _, match := range read {
		want = append(want, match[1])
	}
	for _, w := range render(t).shop() {
		var got []string
		for name, value := range w.env() {
			if strings.HasPrefix(name, "K8S_") {
				got = append(got, name)
				require.NotEmpty(t, value)
			}
		}
		require.ElementsMatch(t, want, got, w.Name)
		require.Subset(t, w.env(), map[string]string{
			"K8S_POD_NAME": "metadata.name", "K8S_POD_UID": "metadata.uid", "K8S_NAMESPACE_NAME": "metadata.namespace",
			"K8S_NODE_NAME": "spec.nodeName", "K8S_CONTAINER_NAME": w.container().Name,
			"K8S_DEPLOYMENT_NAME": "metadata.labels['app.kubernetes.io/name']",
		})
		require.Equal(t, w.Name, w.template.Labels["app.kubernetes.io/name"])
	}
}

func TestServicesAreProbedAndLimited(t *testing.T) {
	m := render(t)
	for _, w := range m.shop() {
		c := w.container()
		require.Equal(t, []string{"-service", w.Name}, c.Args)
		require.NotNil(t, c.StartupProbe, w.Name)
		requests, limits := c.Resources.Requests, c.Resources.Limits
		require.Equal(t, "64Mi", requests.Memory().String(), w.Name)
		require.Equal(t, "256Mi", limits.Memory().String(), w.Name)
		require.Equal(t, int32(8080), c.Ports[0].ContainerPort)
		require.Equal(t, ":8080", w.env()["LISTEN_ADDR"])
	}
	for _, w := range m.workloads() {
		c := w.container()
		for name, probe := range map[string]*corev1.Probe{"readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
			require.NotNil(t, probe, "%s of %s", name, w.Name)
			requireProbedPort(t, c, probe.ProbeHandler)
		}
	}
	// What serves gRPC is asked in gRPC, and the others over HTTP at the paths that the shop's
	// README names.
	for _, name := range services {
		ready := m.workload(t, name).container().ReadinessProbe
		if name == "payment" || name == "inventory" {
			require.NotNil(t, ready.GRPC, name)
		} else {
			require.Equal(t, "/readyz", ready.HTTPGet.Path, name)
			require.Equal(t, "/healthz", m.workload(t, name).container().LivenessProbe.HTTPGet.Path, name)
		}
	}
}

func requireProbedPort(t *testing.T, c corev1.Container, probe corev1.ProbeHandler) {
	t.Helper()
	isPort := func(p corev1.ContainerPort) bool {
		switch {
		case probe.HTTPGet != nil:
			return p.Name == probe.HTTPGet.Port.StrVal
		case probe.TCPSocket != nil:
			return p.Name == probe.TCPSocket.Port.StrVal
		case probe.GRPC != nil:
			return p.ContainerPort == probe.GRPC.Port
		}
		return probe.Exec != nil
	}
	require.True(t, slices.ContainsFunc(c.Ports, isPort), "%s is probed at a port that it does not have", c.Name)
}

// No process can become root, write to its image or gain a right; the one that starts as root may
// only give a directory away.
func TestPodsAreConfined(t *testing.T) {
	for _, w := range render(t).workloads() {
		pod := w.template.Spec
		require.True(t, *pod.SecurityContext.RunAsNonRoot, w.Name)
		require.Positive(t, *pod.SecurityContext.RunAsUser, w.Name)
		require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, w.Name)
		require.False(t, *pod.AutomountServiceAccountToken, w.Name)
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			name := w.Name + "/" + c.Name
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, name)
			require.False(t, *c.SecurityContext.AllowPrivilegeEscalation, name)
			require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, name)
			limits := c.Resources.Limits
			require.False(t, limits.Memory().IsZero(), name)
			if c.Name == "queue-owner" {
				require.Equal(t, []corev1.Capability{"CHOWN"}, c.SecurityContext.Capabilities.Add)
				continue
			}
			require.Empty(t, c.SecurityContext.Capabilities.Add, name)
			require.Nil(t, c.SecurityContext.RunAsNonRoot, name)
			require.Nil(t, c.SecurityContext.RunAsUser, name)
		}
	}
}

func TestImagesHaveAVersion(t *testing.T) {
	seen := make(map[string]string)
	for _, w := range render(t).workloads() {
		for _, c := range slices.Concat(w.template.Spec.InitContainers, w.template.Spec.Containers) {
			require.Regexp(t, `^[^:@]+:\d[\w.-]*$`, c.Image)
			seen[w.Name+"/"+c.Name] = c.Image
		}
	}
	// The collectors of the tests are of the same version.
	module, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`collector/otelcol v(\S+)`).FindSubmatch(module)
	require.NotNil(t, version)
	for _, name := range []string{"otel-agent/agent", "otel-gateway/gateway"} {
		require.Equal(t, "otel/opentelemetry-collector-contrib:"+string(version[1]), seen[name])
	}
}

// What selects pods selects some: Services, disruption budgets and scalers.
func TestSelectorsMatch(t *testing.T) {
	m := render(t)
	for _, w := range m.workloads() {
		require.True(t, matches(t, w.selector, w.template.Labels), w.Name)
	}
	for _, s := range m.services {
		target := m.selected(t, s.Namespace, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		require.Len(t, target, 1, "Service %s", s.Name)
		for _, port := range s.Spec.Ports {
			named := slices.ContainsFunc(target[0].container().Ports, func(p corev1.ContainerPort) bool {
				return p.Name == port.TargetPort.StrVal && p.ContainerPort == port.Port
			})
			require.True(t, named, "port %s of Service %s", port.Name, s.Name)
		}
	}
	for _, d := range m.disruptions {
		require.Len(t, m.selected(t, d.Namespace, d.Spec.Selector), 1, "PodDisruptionBudget %s", d.Name)
	}
	for _, s := range m.scalers {
		requests := m.workload(t, s.Spec.ScaleTargetRef.Name).container().Resources.Requests
		require.False(t, requests.Cpu().IsZero(), "utilisation is of the request")
	}
	for _, s := range m.statefulSets {
		governing := slices.IndexFunc(m.services, func(c corev1.Service) bool {
			return c.Name == s.Spec.ServiceName && c.Namespace == s.Namespace
		})
		require.GreaterOrEqual(t, governing, 0)
		require.Equal(t, corev1.ClusterIPNone, m.services[governing].Spec.ClusterIP)
	}
}

// The gateways are told to keep the weights true, and the services' agent is the one on their node.
func TestCollectorsAreWiredAsTheyMustBe(t *testing.T) {
	m := render(t)
	require.Contains(t, m.workload(t, "otel-gateway").container().Args, useTracestate)
	for _, s := range m.services {
		if s.Name == "otel-agent" {
			require.Equal(t, corev1.ServiceInternalTrafficPolicyLocal, *s.Spec.InternalTrafficPolicy)
		}
	}
	for _, name := range []string{"otel-agent", "otel-gateway"} {
		w := m.workload(t, name)
		require.True(t, slices.ContainsFunc(w.container().VolumeMounts, func(v corev1.VolumeMount) bool {
			return v.MountPath == "/var/lib/otelcol" && !v.ReadOnly
		}), "%s has no place for its queue", name)
		for _, v := range w.template.Spec.Volumes {
			require.Nil(t, v.EmptyDir, "%s: a queue there would go with the pod", name)
		}
	}
}

func (m *manifests) selected(t *testing.T, namespace string, selector *metav1.LabelSelector) (found []workload) {
	t.Helper()
	for _, w := range m.workloads() {
		if w.Namespace == namespace && matches(t, selector, w.template.Labels) {
			found = append(found, w)
		}
	}
	return found
}

func matches(t *testing.T, selector *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	return s.Matches(labels.Set(maps.Clone(set)))
}

// sourceDuration reads a number of seconds from a source file, which is the truth about it.
func sourceDuration(t *testing.T, file, pattern string) time.Duration {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(repository, filepath.FromSlash(file)))
	require.NoError(t, err)
	match := regexp.MustCompile(pattern).FindSubmatch(source)
	require.NotNil(t, match, "%s in %s", pattern, file)
	seconds, err := strconv.Atoi(string(match[1]))
	require.NoError(t, err)
	return time.Duration(seconds) * time.Second
}

func kustomizationText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"", "shop"} {
		text, err := os.ReadFile(filepath.Join(repository, "deploy", "kubernetes", dir, "kustomization.yaml"))
		require.NoError(t, err)
		all.Write(text)
	}
	return all.String()
}
