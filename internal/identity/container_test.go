package identity

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

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
		{name: "containerd under kubernetes with systemd",
			cgroup: "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope", want: id},
		{name: "containerd, the colon form",
			cgroup: "1:cpu:/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:" + id,
			want:   id},
		{name: "kubernetes with cgroupfs", cgroup: "4:memory:/kubepods/burstable/pod2f/" + id, want: id},
		{name: "podman", cgroup: "0::/machine.slice/libpod-" + id + ".scope/container", want: id},
		{name: "docker in docker", cgroup: "5:cpu:/docker/" + other + "/docker/" + id, want: id},
		{name: "docker, cgroup v2", cgroup: "0::/",
			mountinfo: "1 2 8:1 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw - ext4 /dev/sda1 rw",
			want:      id},
		{name: "podman, cgroup v2", cgroup: "0::/", mountinfo: "1 2 0:4 /containers/storage/overlay-containers/" + id +
			"/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw", want: id},
		{name: "balena", cgroup: "5:cpu:/balena/" + id, want: id},
		{name: "balena with systemd", cgroup: "0::/system.slice/balena-" + id + ".scope", want: id},
		{name: "ECS", cgroup: "9:memory:/ecs/55091c13-b8cf-4801-b527-f4601742204d/" + id, want: id},
		{name: "CRI-O with systemd", cgroup: "0::/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope", want: id},
		{name: "docker, cgroup v2 with userns-remap", cgroup: "0::/",
			mountinfo: mounts("/var/lib/docker/165536.165536/containers/"+id+"/", etc), want: id},
		{name: "docker from snap, cgroup v2", cgroup: "0::/",
			mountinfo: mounts("/var/snap/docker/common/var-lib-docker/containers/"+id+"/", etc), want: id},
		{name: "docker with its own data-root, cgroup v2", cgroup: "0::/",
			mountinfo: mounts("/data/engine\\040room/containers/"+id+"/", etc), want: id},
		{name: "docker's data on a file system of their own, cgroup v2", cgroup: "0::/",
			mountinfo: mounts("/containers/"+id+"/", etc), want: id},
		{name: "docker without root, cgroup v2", cgroup: "0::/",
			mountinfo: mounts("/home/u/.local/share/docker/containers/"+id+"/", etc), want: id},
		{name: "docker's file written anew, cgroup v2", cgroup: "0::/",
			mountinfo: "1 2 8:1 /var/lib/docker/containers/" + id + "/hosts//deleted /etc/hosts rw - ext4 /dev/sda1 rw",
			want:      id},
		{name: "balena, cgroup v2", cgroup: "0::/", mountinfo: mounts("/balena/containers/"+id+"/", etc), want: id},
		{name: "nerdctl, cgroup v2", cgroup: "0::/",
			mountinfo: mounts("/var/lib/nerdctl/1935db59/containers/default/"+id+"/",
				[]string{"hostname", "resolv.conf"}) +
				mounts("/var/lib/nerdctl/1935db59/etchosts/default/"+id+"/", []string{"hosts"}), want: id},
		{name: "podman in a pod: hosts and resolv.conf are the pod's", cgroup: "0::/",
			mountinfo: mounts("/containers/storage/overlay-containers/"+id+"/userdata/", []string{"hostname"}) +
				"1 2 0:4 /containers/storage/overlay-containers/" + id +
				"/userdata/.containerenv /run/.containerenv rw - tmpfs tmpfs rw\n" +
				mounts("/containers/storage/overlay-containers/"+other+"/userdata/", []string{"hosts", "resolv.conf"}),
			want: id},
		{name: "podman without root, on vfs", cgroup: "0::/",
			mountinfo: mounts("/1000/containers/vfs-containers/"+id+"/userdata/", etc), want: id},
		{name: "CRI-O, cgroup v2: only the sandbox's id", cgroup: "0::/",
			mountinfo: mounts("/containers/storage/overlay-containers/"+other+"/userdata/",
				[]string{"hostname", "resolv.conf"}) +
				"1 2 8:1 /var/lib/kubelet/pods/2f/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw"},
		{name: "Docker under Kubernetes, cgroup v2: only the sandbox's id", cgroup: "0::/",
			mountinfo: mounts("/var/lib/docker/containers/"+other+"/", []string{"hostname", "resolv.conf"}) +
				"1 2 8:1 /var/lib/kubelet/pods/2f/containers/app/9e1c /dev/termination-log rw - ext4 /dev/sda1 rw"},
		{name: "containerd with a volume of the image", cgroup: "0::/",
			mountinfo: "1 2 8:1 /var/lib/kubelet/pods/2f/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n" +
				"1 2 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/containers/" + id +
				"/volumes/7a /data rw - ext4 /dev/sda1 rw", want: id},
		{name: "a reader of all containers' logs", cgroup: "0::/",
			mountinfo: "1 2 0:9 / /var/lib/docker/containers/" + other + "/mounts/shm rw - tmpfs shm rw\n" +
				"1 2 8:1 /var/lib/docker/containers/" + other + "/hostname /host/hostname rw - ext4 /dev/sda1 rw"},
		{name: "a pod's sandbox", cgroup: "0::/",
			mountinfo: "1 2 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/" + id +
				"/hostname /etc/hostname rw - ext4 /dev/sda1 rw"},
		{name: "files of two containers", cgroup: "0::/",
			mountinfo: "1 2 8:1 /var/lib/docker/containers/" + id +
				"/hostname /etc/hostname rw\n1 2 8:1 /var/lib/docker/containers/" + other + "/hosts /etc/hosts rw"},
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
