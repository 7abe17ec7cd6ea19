package middleware

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// maxMethodLength limits the name of a method that no protobuf file of the program describes, in
// bytes. Such names are kept and become time series.
const maxMethodLength = 512

// servedMethods keeps callers from making span names and time series of methods that do not exist
// (semantic conventions, rpc.method). Of methods that no protobuf file describes, it remembers as
// many as a cache holds: a server that accepts any method, as a proxy does, would otherwise
// remember every name that callers invent.
type servedMethods struct {
	config  HandlerConfig
	linked  cache[string, *rpcMethod] // described by a protobuf file that is linked into the program
	learned cache[string, *rpcMethod] // served without such a file
	other   *rpcMethod                // stands for unknown methods
}

func newServedMethods(c HandlerConfig) *servedMethods {
	m := &servedMethods{config: c, other: newMethod("/"+otherMethod, serverKind)}
	m.other.cached = true
	return m
}

// of returns the method with this full name, or m.other if it is not known.
func (m *servedMethods) of(full string) (method *rpcMethod, excluded bool) {
	if known, ok := m.linked.get(full); ok {
		return known, known.excluded
	}
	if known, ok := m.learned.get(full); ok {
		return known, known.excluded
	}
	if !isLinked(full) {
		return m.other, m.config.excludes(full)
	}
	method = m.remember(&m.linked, full)
	return method, method.excluded
}

// learn adds a method that has been served. It returns nil if there is no room for it.
func (m *servedMethods) learn(full string) *rpcMethod {
	if len(full) > maxMethodLength {
		return nil
	}
	if known, ok := m.learned.get(full); ok {
		return known
	}
	if made := m.remember(&m.learned, full); made.cached {
		return made
	}
	return nil
}

func (m *servedMethods) remember(in *cache[string, *rpcMethod], full string) *rpcMethod {
	full = strings.Clone(full)
	made := newMethod(full, serverKind)
	made.excluded, made.cached = m.config.excludes(full), true
	if !in.put(full, made) {
		made.cached = false
	}
	return made
}

// isLinked reports whether a protobuf file of the program describes a method.
func isLinked(full string) bool {
	path := strings.TrimPrefix(full, "/")
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return false
	}
	service, name := protoreflect.FullName(path[:slash]), protoreflect.Name(path[slash+1:])
	if !service.IsValid() || !name.IsValid() {
		return false
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(service.Append(name))
	if err != nil || found.Parent().FullName() != service {
		return false
	}
	_, is := found.(protoreflect.MethodDescriptor)
	return is
}
