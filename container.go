package telemetry

import (
	"io/fs"
	"regexp"
	"strings"
)

// The container id is 64 hexadecimal digits. It counts only where a path says that a container runtime made it: a pod's
// sandbox, a systemd scope or a user session has ids of the same form and is not a container.
//
// cgroup v1, and v2 without a namespace of its own, name the container in /proc/self/cgroup. Else cgroup v2 shows "/" there,
// and the id is only in /proc/self/mountinfo, in the paths of the files that the runtime mounts over /etc/hostname and its
// like. Which directory the runtime's data are in does not matter: it may be another one (data-root, snap, balena), have
// one more level (userns-remap), or be a file system of its own.
var (
	// The leading .* makes it the last id of a path: of nested containers the innermost.
	cgroupContainer = regexp.MustCompile(
		`^.*(?:/docker/|/docker-|/balena/|/balena-|/ecs/[^/:]+/|/nerdctl-|[/:]cri-containerd[-:]|/crio-|/libpod-|/kubepods[^:]*/)` +
			`([0-9a-f]{64})(?:\.scope)?(?:/|$)`)

	// dockerFile is Docker's; nerdctl has the namespace between. A file that the runtime has written anew is shown as deleted.
	dockerFile = regexp.MustCompile(
		`/(?:containers|(?:containers|etchosts)/[^/]+)/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf)(?://deleted)?$`)
	// podmanFile leaves out hosts and resolv.conf, which are those of another container where a network is shared.
	podmanFile = regexp.MustCompile(`/[a-z0-9]+-containers/([0-9a-f]{64})/userdata/(?:hostname|\.containerenv)(?://deleted)?$`)
	// criVolume is a volume of the image, under containerd in Kubernetes.
	criVolume = regexp.MustCompile(`/io\.containerd\.[0-9a-z.]+/containers/([0-9a-f]{64})/volumes/`)
	// kubeletFile is in every container of a pod. The hostname there is the sandbox's, with the sandbox's id in its path.
	kubeletFile = regexp.MustCompile(`/pods/[^/]+/(?:etc-hosts|containers/)`)
)

// containerID reads it from root, the file system's root; "" where nothing tells it for certain.
func containerID(root fs.FS) string {
	for _, line := range linesOf(root, "proc/self/cgroup") {
		if m := cgroupContainer.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return mountedContainer(linesOf(root, "proc/self/mountinfo"))
}

// mountedContainer reads the lines of mountinfo (proc_pid_mountinfo(5)): the fourth field is the path that is mounted, in its
// file system, and the fifth where it is mounted.
func mountedContainer(lines []string) string {
	var ids []string
	inPod := false
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		path, at := fields[3], fields[4]
		if m := criVolume.FindStringSubmatch(path); m != nil {
			return m[1]
		}
		inPod = inPod || kubeletFile.MatchString(path)
		if m := runtimeFile(path, at); m != nil {
			ids = append(ids, m[1])
		}
	}
	if inPod || len(ids) == 0 {
		return ""
	}
	for _, id := range ids {
		if id != ids[0] {
			return "" // some of the files are another container's
		}
	}
	return ids[0]
}

// runtimeFile matches the files that a runtime mounts. What is mounted elsewhere may be any container's, as in a collector
// that reads the logs of all.
func runtimeFile(path, at string) []string {
	switch at {
	case "/etc/hostname", "/etc/hosts", "/etc/resolv.conf":
		if m := dockerFile.FindStringSubmatch(path); m != nil {
			return m
		}
		return podmanFile.FindStringSubmatch(path)
	case "/run/.containerenv":
		return podmanFile.FindStringSubmatch(path)
	}
	return nil
}

func linesOf(root fs.FS, file string) []string {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return nil // not Linux, or no access: then nothing tells it
	}
	return strings.Split(string(data), "\n")
}
