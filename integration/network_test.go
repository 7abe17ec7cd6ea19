package integration

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dns is not among the manifests: it is part of every cluster.
var dns = workload{
	ObjectMeta: metav1.ObjectMeta{Name: "kube-dns", Namespace: "kube-system"},
	template:   corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"k8s-app": "kube-dns"}}},
}

// Every call that a workload's configuration names passes the policies on both sides, and so do
// name resolution and telemetry.
func TestNetworkPoliciesAllowWhatIsConfigured(t *testing.T) {
	m := render(t)
	calls := 0
	for _, w := range m.workloads() {
		require.True(t, m.allowed(t, w, dns, 53, corev1.ProtocolUDP), "%s cannot resolve names", w.Name)
		for name, value := range w.env() {
			host, port, ok := destination(value)
			if !ok {
				continue
			}
			to, found := m.serving(t, w.Namespace, host)
			require.True(t, found, "%s of %s: nobody is %s", name, w.Name, host)
			require.True(t, m.allowed(t, w, to, port, corev1.ProtocolTCP), "%s of %s: the policies forbid it", name,
				w.Name)
			calls++
		}
	}
	// storefront 1, checkout 4, fulfilment 1, and five times telemetry.
	require.Equal(t, 11, calls)

	agent, gateway := m.workload(t, "otel-agent"), m.workload(t, "otel-gateway")
	require.Equal(t, "otel-gateway.observability.svc", agent.env()["GATEWAY_HOST"])
	require.True(t, m.allowed(t, agent, gateway, 4317, corev1.ProtocolTCP))
	backend := workload{ObjectMeta: metav1.ObjectMeta{Name: "backend", Namespace: "elsewhere"}}
	require.True(t, m.allowedOut(t, gateway, backend, 4318, corev1.ProtocolTCP))
}

// And what nobody needs is forbidden.
func TestNetworkPoliciesForbidTheRest(t *testing.T) {
	m := render(t)
	stranger := workload{ObjectMeta: metav1.ObjectMeta{Name: "stranger", Namespace: "default"}}
	storefront, gateway := m.workload(t, "storefront"), m.workload(t, "otel-gateway")
	for _, w := range m.workloads() {
		for _, p := range w.container().Ports {
			allowed := m.allowed(t, stranger, w, int(p.ContainerPort), corev1.ProtocolTCP)
			require.Equal(t, w.Name == "storefront", allowed, "a stranger at %s:%d", w.Name, p.ContainerPort)
		}
	}
	require.False(t, m.allowed(t, storefront, m.workload(t, "postgres"), 5432, corev1.ProtocolTCP))
	require.False(t, m.allowed(t, storefront, gateway, 4317, corev1.ProtocolTCP), "past the agent")
	require.False(t, m.allowed(t, storefront, stranger, 443, corev1.ProtocolTCP))
}

// destination reads a host and a port from a variable, if it holds them.
func destination(value string) (host string, port int, ok bool) {
	if u, err := url.Parse(value); err == nil && u.Host != "" {
		host, value, err = net.SplitHostPort(u.Host)
		if err != nil {
			return "", 0, false
		}
	} else if host, value, err = net.SplitHostPort(value); err != nil || host == "" {
		return "", 0, false
	}
	port, err := strconv.Atoi(value)
	return host, port, err == nil
}

// serving is the workload behind a Service's name: name, name.namespace or name.namespace.svc.
func (m *manifests) serving(t *testing.T, namespace, host string) (workload, bool) {
	t.Helper()
	name, rest, qualified := strings.Cut(host, ".")
	if qualified {
		namespace = strings.TrimSuffix(rest, ".svc")
	}
	for _, s := range m.services {
		if s.Name == name && s.Namespace == namespace {
			if w := m.selected(t, namespace, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}); len(w) > 0 {
				return w[0], true
			}
		}
	}
	return workload{}, false
}

func (m *manifests) allowed(t *testing.T, from, to workload, port int, protocol corev1.Protocol) bool {
	t.Helper()
	return m.allowedOut(t, from, to, port, protocol) && m.allowedIn(t, from, to, port, protocol)
}

// allowedOut is what NetworkPolicy says: a pod that no policy selects may do everything, any other
// what one of its policies allows.
func (m *manifests) allowedOut(t *testing.T, from, to workload, port int, protocol corev1.Protocol) bool {
	t.Helper()
	policies := m.policiesOf(t, from, networkingv1.PolicyTypeEgress)
	return len(policies) == 0 || slices.ContainsFunc(policies, func(p networkingv1.NetworkPolicy) bool {
		return slices.ContainsFunc(p.Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
			return hasPort(rule.Ports, port, protocol) && m.hasPeer(t, p.Namespace, rule.To, to)
		})
	})
}

func (m *manifests) allowedIn(t *testing.T, from, to workload, port int, protocol corev1.Protocol) bool {
	t.Helper()
	policies := m.policiesOf(t, to, networkingv1.PolicyTypeIngress)
	return len(policies) == 0 || slices.ContainsFunc(policies, func(p networkingv1.NetworkPolicy) bool {
		return slices.ContainsFunc(p.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
			return hasPort(rule.Ports, port, protocol) && m.hasPeer(t, p.Namespace, rule.From, from)
		})
	})
}

func (m *manifests) policiesOf(t *testing.T, w workload,
	direction networkingv1.PolicyType) (found []networkingv1.NetworkPolicy) {
	t.Helper()
	for _, p := range m.policies {
		if p.Namespace == w.Namespace && slices.Contains(p.Spec.PolicyTypes, direction) &&
			matches(t, &p.Spec.PodSelector, w.template.Labels) {
			found = append(found, p)
		}
	}
	return found
}

func hasPort(ports []networkingv1.NetworkPolicyPort, port int, protocol corev1.Protocol) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		return *p.Protocol == protocol && p.Port.IntValue() == port
	})
}

func (m *manifests) hasPeer(t *testing.T, namespace string, peers []networkingv1.NetworkPolicyPeer, w workload) bool {
	t.Helper()
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.NamespaceSelector == nil {
			return w.Namespace == namespace && matches(t, p.PodSelector, w.template.Labels)
		}
		return matches(t, p.NamespaceSelector, m.namespaceLabels(w.Namespace)) &&
			(p.PodSelector == nil || matches(t, p.PodSelector, w.template.Labels))
	})
}

// namespaceLabels includes the one that every namespace has.
func (m *manifests) namespaceLabels(name string) map[string]string {
	all := map[string]string{"kubernetes.io/metadata.name": name}
	for _, n := range m.namespaces {
		if n.Name == name {
			maps.Copy(all, n.Labels)
		}
	}
	return all
}
