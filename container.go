package telemetry

import (
	"io/fs"
	"regexp"
	"strings"
)

// The container id is 64 hexadecimal digits. It counts only where the path says that a container runtime made it:
// cgroup v1, and v2 without a namespace of its own, name the container in /proc/self/cgroup; else cgroup v2 shows "/"
// there, and the id only appears among the files that the runtime mounts into the container (/etc/hostname and its
// like) in /proc/self/mountinfo. A pod's sandbox, a systemd scope or a user session has ids of the same form and is none.
var (
	// The leading .* makes it the last id of a path: of nested containers the innermost.
	cgroupContainer = regexp.MustCompile(
		`^.*(?:/docker/|/docker-|/nerdctl-|[/:]cri-containerd[-:]|/crio-|/libpod-|/kubepods[^:]*/)([0-9a-f]{64})(?:\.scope)?(?:/|$)`)
	mountedContainer = regexp.MustCompile(`/(?:docker/containers|overlay-containers)/([0-9a-f]{64})/`)
)

// containerID reads it from root, the file system's root; "" where nothing tells it for certain.
func containerID(root fs.FS) string {
	if ids := matches(root, "proc/self/cgroup", cgroupContainer); len(ids) > 0 {
		return ids[0]
	}
	ids := matches(root, "proc/self/mountinfo", mountedContainer)
	for _, id := range ids {
		if id != ids[0] {
			return "" // some of the files are another container's: a pod's, or one whose network is shared
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

func matches(root fs.FS, file string, pattern *regexp.Regexp) (ids []string) {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return nil // not Linux, or no access: then nothing tells it
	}
	for line := range strings.Lines(string(data)) {
		if m := pattern.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			ids = append(ids, m[1])
		}
	}
	return ids
}
