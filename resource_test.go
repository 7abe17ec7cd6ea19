package telemetry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
)

func attributesOf(t *testing.T, env environment, opts ...Option) (map[string]any, []string) {
	t.Helper()
	r := resolve(env, opts...)
	require.NoError(t, r.err())
	res, notices := buildResource(t.Context(), r.cfg)
	require.Empty(t, res.SchemaURL())
	attrs := map[string]any{}
	for _, kv := range res.Attributes() {
		attrs[string(kv.Key)] = kv.Value.AsInterface()
	}
	return attrs, notices
}

func TestResourceDescribesTheProcess(t *testing.T) {
	attrs, notices := attributesOf(t, environment{"OTEL_SERVICE_NAME": "checkout"})
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
	full := environment{
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

	attrs, _ = attributesOf(t, full, WithResourceAttributes(attribute.String("service.name", "generic"), attribute.String("team", "option")))
	require.Equal(t, "generic", attrs["service.name"], "options are above the environment")
	require.Equal(t, "option", attrs["team"])

	attrs, _ = attributesOf(t, full, WithResourceAttributes(attribute.String("service.name", "generic")),
		WithServiceName("named"), WithServiceVersion("1.2.3"), WithServiceNamespace("shop"), WithEnvironment("production"))
	require.Equal(t, "named", attrs["service.name"])
	require.Equal(t, "1.2.3", attrs["service.version"])
	require.Equal(t, "shop", attrs["service.namespace"])
	require.Equal(t, "production", attrs["deployment.environment.name"])
}

func TestInvalidServiceNameLeavesTheVariable(t *testing.T) {
	r := resolve(environment{"OTEL_SERVICE_NAME": "good"}, WithServiceName(" "))
	require.Error(t, r.err())
	res, _ := buildResource(t.Context(), r.cfg)
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

	_, notices = attributesOf(t, environment{"OTEL_RESOURCE_ATTRIBUTES": "service.name=a"})
	require.Empty(t, notices)
}

func TestBuildAttributes(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.4.0"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}
	require.ElementsMatch(t, []attribute.KeyValue{attribute.String("service.version", "v1.4.0"), attribute.String("vcs.ref.head.revision", "abc")}, buildAttributes(info))
	require.Empty(t, buildAttributes(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}))
}

type detector func(context.Context) (*resource.Resource, error)

func (d detector) Detect(ctx context.Context) (*resource.Resource, error) { return d(ctx) }

func TestDetectorsAreBoundedAndIsolated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		good := func(schema, key string) detector {
			return func(context.Context) (*resource.Resource, error) {
				return resource.NewWithAttributes(schema, attribute.String(key, "found")), nil
			}
		}
		detectors := []resource.Detector{
			good("https://opentelemetry.io/schemas/1.1.0", "one"),
			detector(func(context.Context) (*resource.Resource, error) { panic("broken detector") }),
			detector(func(context.Context) (*resource.Resource, error) { <-released; return nil, nil }),
			detector(func(ctx context.Context) (*resource.Resource, error) { <-ctx.Done(); return nil, ctx.Err() }),
			detector(func(context.Context) (*resource.Resource, error) {
				return resource.NewSchemaless(attribute.String("half", "found")), errors.New("only half of it")
			}),
			nil, (detector)(nil),
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
		require.Equal(t, []string{"one", "half", "two"}, keys, "conflicting schema URLs do not matter, partial results count")
		all := strings.Join(notices, "\n")
		for _, part := range []string{"panic: broken detector", "abandoned", "only half of it"} {
			require.Contains(t, all, part)
		}
		require.True(t, slices.ContainsFunc(notices, func(n string) bool { return strings.Contains(n, "telemetry.detector") }), "a foreign detector is named: %s", all)
		synctest.Wait()
	})
}

func TestDetectorOptionReachesTheResource(t *testing.T) {
	found := detector(func(context.Context) (*resource.Resource, error) {
		return resource.NewSchemaless(attribute.String("cloud.region", "north"), attribute.String("service.name", "detected"),
			attribute.String("service.instance.id", "pod-7")), nil
	})
	attrs, _ := attributesOf(t, environment{"OTEL_SERVICE_NAME": "named"}, WithResourceDetectors(nil), WithResourceDetectors(found))
	require.Equal(t, "north", attrs["cloud.region"])
	require.Equal(t, "pod-7", attrs["service.instance.id"], "what is detected goes before what is made up")
	require.Equal(t, "named", attrs["service.name"], "what was given goes before what is detected")
}

func TestContainerID(t *testing.T) {
	id, other := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	etc := []string{"hostname", "hosts", "resolv.conf"}
	mounts := func(from string, files []string) string {
		lines := "1 2 8:1 / / rw - ext4 /dev/sda1 rw\n"
		for _, file := range files {
			lines += "1 2 8:1 " + from + file + " /etc/" + file + " rw,relatime - ext4 /dev/sda1 rw\n"
		}
		return lines
	}
	tests := []struct{ name, cgroup, mountinfo, want string }{
		{name: "docker, cgroup v1", cgroup: "5:cpu:/docker/" + id + "\n1:name=systemd:/docker/" + id, want: id},
		{name: "docker with systemd", cgroup: "0::/system.slice/docker-" + id + ".scope", want: id},
		{name: "containerd under kubernetes with systemd", cgroup: "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope", want: id},
		{name: "containerd, the colon form", cgroup: "1:cpu:/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:" + id, want: id},
		{name: "kubernetes with cgroupfs", cgroup: "4:memory:/kubepods/burstable/pod2f/" + id, want: id},
		{name: "podman", cgroup: "0::/machine.slice/libpod-" + id + ".scope/container", want: id},
		{name: "docker in docker", cgroup: "5:cpu:/docker/" + other + "/docker/" + id, want: id},
		{name: "docker, cgroup v2", cgroup: "0::/", mountinfo: "1 2 8:1 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw - ext4 /dev/sda1 rw", want: id},
		{name: "podman, cgroup v2", cgroup: "0::/", mountinfo: "1 2 0:4 /containers/storage/overlay-containers/" + id + "/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw", want: id},
		{name: "balena", cgroup: "5:cpu:/balena/" + id, want: id},
		{name: "balena with systemd", cgroup: "0::/system.slice/balena-" + id + ".scope", want: id},
		{name: "ECS", cgroup: "9:memory:/ecs/55091c13-b8cf-4801-b527-f4601742204d/" + id, want: id},
		{name: "CRI-O with systemd", cgroup: "0::/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope", want: id},
		{name: "docker, cgroup v2 with userns-remap", cgroup: "0::/", mountinfo: mounts("/var/lib/docker/165536.165536/containers/"+id+"/", etc), want: id},
		{name: "docker from snap, cgroup v2", cgroup: "0::/", mountinfo: mounts("/var/snap/docker/common/var-lib-docker/containers/"+id+"/", etc), want: id},
		{name: "docker with its own data-root, cgroup v2", cgroup: "0::/", mountinfo: mounts("/data/engine\\040room/containers/"+id+"/", etc), want: id},
		{name: "docker's data on a file system of their own, cgroup v2", cgroup: "0::/", mountinfo: mounts("/containers/"+id+"/", etc), want: id},
		{name: "docker without root, cgroup v2", cgroup: "0::/", mountinfo: mounts("/home/u/.local/share/docker/containers/"+id+"/", etc), want: id},
		{name: "docker's file written anew, cgroup v2", cgroup: "0::/", mountinfo: "1 2 8:1 /var/lib/docker/containers/" + id + "/hosts//deleted /etc/hosts rw - ext4 /dev/sda1 rw", want: id},
		{name: "balena, cgroup v2", cgroup: "0::/", mountinfo: mounts("/balena/containers/"+id+"/", etc), want: id},
		{name: "nerdctl, cgroup v2", cgroup: "0::/", mountinfo: mounts("/var/lib/nerdctl/1935db59/containers/default/"+id+"/", []string{"hostname", "resolv.conf"}) +
			mounts("/var/lib/nerdctl/1935db59/etchosts/default/"+id+"/", []string{"hosts"}), want: id},
		{name: "podman in a pod: hosts and resolv.conf are the pod's", cgroup: "0::/", mountinfo: mounts("/containers/storage/overlay-containers/"+id+"/userdata/", []string{"hostname"}) +
			"1 2 0:4 /containers/storage/overlay-containers/" + id + "/userdata/.containerenv /run/.containerenv rw - tmpfs tmpfs rw\n" +
			mounts("/containers/storage/overlay-containers/"+other+"/userdata/", []string{"hosts", "resolv.conf"}), want: id},
		{name: "podman without root, on vfs", cgroup: "0::/", mountinfo: mounts("/1000/containers/vfs-containers/"+id+"/userdata/", etc), want: id},
		{name: "CRI-O, cgroup v2: only the sandbox's id", cgroup: "0::/", mountinfo: mounts("/containers/storage/overlay-containers/"+other+"/userdata/", []string{"hostname", "resolv.conf"}) +
			"1 2 8:1 /var/lib/kubelet/pods/2f/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw"},
		{name: "Docker under Kubernetes, cgroup v2: only the sandbox's id", cgroup: "0::/", mountinfo: mounts("/var/lib/docker/containers/"+other+"/", []string{"hostname", "resolv.conf"}) +
			"1 2 8:1 /var/lib/kubelet/pods/2f/containers/app/9e1c /dev/termination-log rw - ext4 /dev/sda1 rw"},
		{name: "containerd with a volume of the image", cgroup: "0::/", mountinfo: "1 2 8:1 /var/lib/kubelet/pods/2f/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n" +
			"1 2 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/containers/" + id + "/volumes/7a /data rw - ext4 /dev/sda1 rw", want: id},
		{name: "a reader of all containers' logs", cgroup: "0::/", mountinfo: "1 2 0:9 / /var/lib/docker/containers/" + other + "/mounts/shm rw - tmpfs shm rw\n" +
			"1 2 8:1 /var/lib/docker/containers/" + other + "/hostname /host/hostname rw - ext4 /dev/sda1 rw"},
		{name: "a pod's sandbox", cgroup: "0::/", mountinfo: "1 2 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/" + id + "/hostname /etc/hostname rw - ext4 /dev/sda1 rw"},
		{name: "files of two containers", cgroup: "0::/", mountinfo: "1 2 8:1 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw\n1 2 8:1 /var/lib/docker/containers/" + other + "/hosts /etc/hosts rw"},
		{name: "podman's monitor", cgroup: "0::/machine.slice/libpod-conmon-" + id + ".scope"},
		{name: "a login session", cgroup: "0::/user.slice/user-1000.slice/session-2.scope"},
		{name: "a unit with an id of that form", cgroup: "0::/system.slice/run-" + id + ".scope"},
		{name: "63 digits", cgroup: "0::/docker/" + id[:63]},
		{name: "65 digits", cgroup: "0::/docker/" + id + "a"},
		{name: "upper case", cgroup: "0::/docker/" + strings.ToUpper(id)},
		{name: "no container", cgroup: "0::/init.scope", mountinfo: "1 2 8:1 / / rw - ext4 /dev/sda1 rw"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			root["proc/self/cgroup"] = &fstest.MapFile{Data: []byte(tt.cgroup + "\n")}
			root["proc/self/mountinfo"] = &fstest.MapFile{Data: []byte(tt.mountinfo + "\n")}
			require.Equal(t, tt.want, containerID(root))
		})
	}
	require.Empty(t, containerID(fstest.MapFS{}), "not Linux")
}
