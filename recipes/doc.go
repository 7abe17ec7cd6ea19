// Package recipes has no code: its tests hold what docs/ shows. The routers and libraries that the
// recipes use are requirements of this module only.
package recipes
