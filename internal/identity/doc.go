// Package identity builds the resource, which identifies this process, and keeps it unchanged.
//
// resource.go combines what detectors found (container.go detects the container), Kubernetes'
// variables, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME, and options. Later sources win.
// service.instance.id is a random UUID unless one of them sets it.
//
// correct.go corrects the resource in the SDK's providers. They read the two OTEL variables
// themselves and merge them into every resource that they are given, by other rules: they do not
// decode keys, and they keep values that cannot be decoded. The SDK has no option to prevent that.
package identity
