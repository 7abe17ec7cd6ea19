// Package credential keeps credentials current: certificates and tokens in files that other
// programs renew while the process runs, as cert-manager, Vault and the kubelet do. Nothing runs in
// the background. The files are read when they are needed, which is at each handshake and each
// request:
//
//	handshake --> tls.Config of Renewing --+
//	                                       +--> renewed.get --> Calls: read the files, for at most 5 s
//	request ----> Token.Headers -----------+          |
//	                                                  +--> unchanged or unreadable: the value in use
//	                                                  +--> changed: parsed, and the new value
//
// [Calls] and [Do] are also for a service's own header function: they stop waiting for a call that
// does not return.
package credential
