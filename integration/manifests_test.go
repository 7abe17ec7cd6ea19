package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// manifests are what "kubectl apply -k deploy/kubernetes" sends to the cluster, by kind.
type manifests struct {
	namespaces   []corev1.Namespace
	configMaps   []corev1.ConfigMap
	services     []corev1.Service
	deployments  []appsv1.Deployment
	statefulSets []appsv1.StatefulSet
	daemonSets   []appsv1.DaemonSet
	disruptions  []policyv1.PodDisruptionBudget
	scalers      []autoscalingv2.HorizontalPodAutoscaler
	policies     []networkingv1.NetworkPolicy
}

var rendered = sync.OnceValues(func() (*manifests, error) {
	// Like kubectl: no file outside of a kustomization's directory, no plugin.
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
		Run(filesys.MakeFsOnDisk(), filepath.Join(repository, "deploy", "kubernetes"))
	if err != nil {
		return nil, err
	}
	m := &manifests{}
	for _, resource := range resources.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		if err := m.decode(resource.GetKind(), text); err != nil {
			return nil, fmt.Errorf("%s: %w", resource.CurId(), err)
		}
	}
	return m, nil
})

// decode rejects fields that the kind's type does not have, and kinds that it does not know.
func (m *manifests) decode(kind string, text []byte) error {
	switch kind {
	case "Namespace":
		return add(&m.namespaces, text)
	case "ConfigMap":
		return add(&m.configMaps, text)
	case "Service":
		return add(&m.services, text)
	case "Deployment":
		return add(&m.deployments, text)
	case "StatefulSet":
		return add(&m.statefulSets, text)
	case "DaemonSet":
		return add(&m.daemonSets, text)
	case "PodDisruptionBudget":
		return add(&m.disruptions, text)
	case "HorizontalPodAutoscaler":
		return add(&m.scalers, text)
	case "NetworkPolicy":
		return add(&m.policies, text)
	default:
		return fmt.Errorf("no check knows the kind %s", kind)
	}
}

func add[T any](list *[]T, text []byte) error {
	var object T
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		return err
	}
	*list = append(*list, object)
	return nil
}

func render(t *testing.T) *manifests {
	t.Helper()
	m, err := rendered()
	require.NoError(t, err)
	return m
}

// workload is what the kinds that run pods have in common.
type workload struct {
	metav1.ObjectMeta
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
}

func (m *manifests) workloads() (all []workload) {
	for _, w := range m.deployments {
		all = append(all, workload{w.ObjectMeta, w.Spec.Selector, w.Spec.Template})
	}
	for _, w := range m.statefulSets {
		all = append(all, workload{w.ObjectMeta, w.Spec.Selector, w.Spec.Template})
	}
	for _, w := range m.daemonSets {
		all = append(all, workload{w.ObjectMeta, w.Spec.Selector, w.Spec.Template})
	}
	return all
}

// shop are the workloads of the shop's own services.
func (m *manifests) shop() (all []workload) {
	for _, w := range m.workloads() {
		if w.Labels["app.kubernetes.io/part-of"] == "shop" {
			all = append(all, w)
		}
	}
	return all
}

func (m *manifests) workload(t *testing.T, name string) workload {
	t.Helper()
	for _, w := range m.workloads() {
		if w.Name == name {
			return w
		}
	}
	require.Fail(t, "no workload "+name)
	return workload{}
}

func (w workload) container() corev1.Container { return w.template.Spec.Containers[0] }

// env is the value of a variable of the first container; what comes from elsewhere is given as
// fieldPath or secret key.
func (w workload) env() map[string]string {
	all := make(map[string]string)
	for _, e := range w.container().Env {
		switch {
		case e.ValueFrom == nil:
			all[e.Name] = e.Value
		case e.ValueFrom.FieldRef != nil:
			all[e.Name] = e.ValueFrom.FieldRef.FieldPath
		case e.ValueFrom.SecretKeyRef != nil:
			all[e.Name] = "secret " + e.ValueFrom.SecretKeyRef.Name
		}
	}
	return all
}

// Every file of deploy/kubernetes is part of what is applied, and every YAML document in it is one
// that Kubernetes knows.
func TestManifestsAreAllApplied(t *testing.T) {
	m := render(t)
	require.Equal(t, len(services), len(m.shop()))
	for _, name := range services {
		m.workload(t, name)
	}
	text, err := yaml.Marshal(m.workloads())
	require.NoError(t, err)
	require.NotContains(t, string(text), "every-service", "the patch is no resource")

	files, err := filepath.Glob(filepath.Join(repository, "deploy", "kubernetes", "*", "*.yaml"))
	require.NoError(t, err)
	listed := kustomizationText(t)
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" {
			require.True(t, strings.Contains(listed, name), "no kustomization lists %s", file)
		}
	}
}

// The collectors' configurations reach the cluster as they are in deploy/collector, and are valid
// there.
func TestConfigMapsHoldTheValidatedConfigurations(t *testing.T) {
	m := render(t)
	found := 0
	for _, c := range m.configMaps {
		for name, content := range c.Data {
			if !strings.HasSuffix(name, ".yaml") {
				continue
			}
			found++
			file := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
			requireValid(t, file)
			mounted := false
			for _, w := range m.workloads() {
				for _, v := range w.template.Spec.Volumes {
					if v.ConfigMap != nil && v.ConfigMap.Name == c.Name {
						mounted = true
						require.Contains(t, w.container().Args, "--config=/etc/otelcol/"+name)
						require.Contains(t, w.container().VolumeMounts,
							corev1.VolumeMount{Name: v.Name, MountPath: "/etc/otelcol", ReadOnly: true})
					}
				}
			}
			require.True(t, mounted, "nobody mounts %s", c.Name)
		}
	}
	require.Equal(t, 2, found)
}
