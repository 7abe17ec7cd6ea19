SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

.PHONY: help test race lint update proto ci demo

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

test: ## Run all tests
	go test ./... ./examples/...

race: ## Run all tests with the race detector
	go test -race -timeout 10m ./... ./examples/...

lint: ## Check the style
	gofmt -l $$(git ls-files '*.go')
	go vet ./... ./examples/...

update: ## Write the generated tables into README.md
	go test -run '^TestReadme.*Table' -update .

proto: ## Write the shop's gRPC code (needs protoc, protoc-gen-go and protoc-gen-go-grpc)
	go generate ./examples/shop/internal/shoppb

demo: ## Run the main example
	go run ./examples/payments

ci: ## Run what the gate runs
	.ci/run
