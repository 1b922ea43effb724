package machine

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A bound is memory that somebody allows this process, and how much of it is taken.
type bound struct{ limit, used int64 }

// left is what may still be taken, at least 1: 0 would mean unknown.
func (b bound) left() int64 { return max(b.limit-b.used, 1) }

// A controller is how one version of control groups tells about memory.
type controller struct {
	fallback string   // where it is mounted if the kernel does not say
	limits   []string // files with a limit each
	used     string
	cache    string // in memory.stat: pages of files that the kernel takes back when it needs room
}

var (
	controllerV1 = controller{"sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file"}
	// A group beyond memory.high is not ended but slowed down, to a standstill.
	controllerV2 = controller{"sys/fs/cgroup", []string{"memory.max", "memory.high"}, "memory.current", "inactive_file"}
)

// Files of the kernel about this process, below the root.
const (
	groupsFile = "proc/self/cgroup"
	mountsFile = "proc/self/mountinfo"
	statusFile = "proc/self/status"
)

// unlimited is the least number that stands for no limit in version 1.
const unlimited = 1 << 60

// groups lists the limits of the control groups that this process is in, from its own up to the root.
func (s system) groups() []bound {
	v1, v2 := "", "/" // in a container that hides its name, the group is the root
	for line := range strings.Lines(s.text(groupsFile)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(part) != 3:
		case part[0] == "0" && part[1] == "":
			v2 = part[2]
		case hasWord(part[1], "memory"):
			v1 = part[2]
		}
	}
	bounds := s.groupsOf(controllerV2, v2, func(fs, _ string) bool { return fs == "cgroup2" })
	if v1 != "" {
		bounds = append(bounds, s.groupsOf(controllerV1, v1, func(fs, options string) bool { return fs == "cgroup" && hasWord(options, "memory") })...)
	}
	return bounds
}

// groupsOf walks from a group up to the root of its controller's mount. A limit counts for all groups below it.
func (s system) groupsOf(c controller, group string, is func(fs, options string) bool) []bound {
	mount, root := s.mount(is)
	if mount == "" {
		mount, root = c.fallback, "/"
	}
	if inside, err := filepath.Rel(root, path.Clean("/"+group)); err == nil && filepath.IsLocal(inside) {
		group = inside // a container sees a part of the tree
	}
	var bounds []bound
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		folder := path.Join(mount, group)
		for _, name := range c.limits {
			limit := s.number(path.Join(folder, name))
			if limit > 0 && limit < unlimited {
				used := s.number(path.Join(folder, c.used)) - s.counted(path.Join(folder, "memory.stat"), c.cache)
				bounds = append(bounds, bound{limit, max(used, 0)})
			}
		}
		if group == "/" {
			return bounds
		}
	}
}

// mount finds where a file system of groups is mounted, and which group of it is there.
func (s system) mount(is func(fs, options string) bool) (mount, root string) {
	for line := range strings.Lines(s.text(mountsFile)) {
		// 31 23 0:26 ROOT MOUNT rw,nosuid shared:9 - TYPE SOURCE OPTIONS
		left, right, ok := strings.Cut(line, " - ")
		where, what := strings.Fields(left), strings.Fields(right)
		if ok && len(where) >= 5 && len(what) >= 3 && is(what[0], what[2]) {
			return strings.TrimPrefix(where[4], "/"), where[3]
		}
	}
	return "", ""
}

// counted is the number behind a name in a file of "name number" lines.
func (s system) counted(path, name string) int64 {
	for line := range strings.Lines(s.text(path)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return n
		}
	}
	return 0
}

// text is a file as a whole, empty if it cannot be read.
func (s system) text(path string) string {
	data, err := os.ReadFile(filepath.Join(string(s), path))
	if err != nil {
		return ""
	}
	return string(data)
}

// arenas is address space that Go's heap takes ahead of its use.
const arenas = 128 << 20

// resourceLimits are those of ulimit -v and ulimit -d, with what the process has of each.
func (s system) resourceLimits(get getLimit) []bound {
	var bounds []bound
	for _, r := range []struct {
		resource int
		taken    string // field of the status of this process
	}{{unix.RLIMIT_AS, "VmSize"}, {unix.RLIMIT_DATA, "VmData"}} {
		var limit unix.Rlimit
		if get(r.resource, &limit) == nil && limit.Cur < unlimited {
			bounds = append(bounds, bound{int64(limit.Cur), kilobytes(s.field(statusFile, r.taken)) + arenas})
		}
	}
	return bounds
}

// hasWord looks for a word in a list with commas.
func hasWord(list, word string) bool { return slices.Contains(strings.Split(list, ","), word) }
