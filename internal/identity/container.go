package identity

import (
	"io/fs"
	"regexp"
	"strings"
)

// The container id is 64 hexadecimal digits. It counts only in a path that a container runtime
// creates: a pod's sandbox, a systemd scope and a user session have ids of the same form and are
// not containers.
//
// cgroup v1, and v2 without its own namespace, name the container in /proc/self/cgroup. Otherwise
// cgroup v2 shows "/" there, and the id is only in /proc/self/mountinfo, in the paths of the files
// that the runtime mounts over /etc/hostname, /etc/hosts and /etc/resolv.conf. The directory of the
// runtime's data does not matter: it may be moved (data-root, snap, balena), have one more level
// (userns-remap), or be a separate file system.
var (
	// The leading .* selects the last id of a path, which is that of the innermost container.
	cgroupContainer = regexp.MustCompile(
		`^.*(?:/docker/|/docker-|/balena/|/balena-|/ecs/[^/:]+/|/nerdctl-|[/:]cri-containerd[-:]|/crio-|/libpod-|/kubepods[^:]*/)` +
			`([0-9a-f]{64})(?:\.scope)?(?:/|$)`)

	// dockerFile is a file of Docker or nerdctl, which adds the namespace to the path. A file that
	// the runtime has replaced is shown as deleted.
	dockerFile = regexp.MustCompile(
		`/(?:containers|(?:containers|etchosts)/[^/]+)/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf)(?://deleted)?$`)
	// podmanFile omits hosts and resolv.conf, which belong to another container if a network is
	// shared.
	podmanFile = regexp.MustCompile(`/[a-z0-9]+-containers/([0-9a-f]{64})/userdata/(?:hostname|\.containerenv)(?://deleted)?$`)
	// criVolume is a volume of the image, under containerd in Kubernetes.
	criVolume = regexp.MustCompile(`/io\.containerd\.[0-9a-z.]+/containers/([0-9a-f]{64})/volumes/`)
	// kubeletFile is in every container of a pod. There, the path of the hostname file contains the
	// id of the sandbox.
	kubeletFile = regexp.MustCompile(`/pods/[^/]+/(?:etc-hosts|containers/)`)
)

// containerID reads the id from root, the root of the file system. It returns "" if the id is not
// certain.
func containerID(root fs.FS) string {
	for _, line := range linesOf(root, "proc/self/cgroup") {
		if m := cgroupContainer.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return mountedContainer(linesOf(root, "proc/self/mountinfo"))
}

// mountedContainer reads the lines of mountinfo (proc_pid_mountinfo(5)). The fourth field is the
// mounted path in its file system, and the fifth is the mount point.
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
			return "" // some of the files belong to another container
		}
	}
	return ids[0]
}

// runtimeFile matches the files that a runtime mounts. Files mounted elsewhere may belong to any
// container, as in a collector that reads the logs of all containers.
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
		return nil // not Linux, or no access
	}
	return strings.Split(string(data), "\n")
}
