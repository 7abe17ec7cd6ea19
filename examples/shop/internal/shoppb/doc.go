// Package shoppb is the code that protoc has generated from shop.proto. To write it anew (make
// proto), install protoc, protoc-gen-go and protoc-gen-go-grpc.
package shoppb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative shop.proto
