SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

staticcheck := honnef.co/go/tools/cmd/staticcheck@v0.8.2
gocognit := github.com/uudashr/gocognit/cmd/gocognit@v1.3.0

.PHONY: help check test race lint update proto ci demo

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

check: lint ## Check the style and run the short tests, in under two minutes
	go test -short ./...

test: ## Run all tests
	go test ./... ./examples/...

race: ## Run all tests with the race detector
	go test -race -timeout 10m ./... ./examples/...

lint: ## Check formatting, vet, staticcheck and cognitive complexity
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet ./... ./examples/...
	go run $(staticcheck) -checks all,-ST1000 ./...
	go run $(gocognit) -over 20 -test=false .

update: ## Write the generated tables into docs/, and testdata
	go test -run '^Test(.*TableIsUpToDate|DescribeGolden)' -update . && go test -run '^TestGolden' -update ./internal/lines

proto: ## Write the shop's gRPC code (needs protoc, protoc-gen-go and protoc-gen-go-grpc)
	go generate ./examples/shop/internal/shoppb

demo: ## Run the main example
	go run ./examples/payments

ci: ## Run what the gate runs
	.ci/run
