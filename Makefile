# The two commands: `make demo` and `make test`. `make help` lists the rest.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Set up everything and run real jobs, from message to result
	@scripts/demo.sh

.PHONY: test
test: ## Set up everything and run every check
	@scripts/test.sh

.PHONY: test-long
test-long: ## Run what takes too long for every check: floods, soaks and long rounds, about an hour
	@scripts/stack.sh up --only services
	cargo test --locked --test integration -- --ignored --skip write_the_seeds --test-threads 1 --nocapture
	cargo test --locked --test chaos the_long_round -- --ignored --nocapture

.PHONY: bench
bench: ## Measure the worker beside bare calls to the engine, and what logs cost
	@scripts/stack.sh up --only services
	cargo bench --locked --bench throughput
	cargo bench --locked --bench logs

.PHONY: soak-logs
soak-logs: ## Kill workers and take the store away for ten minutes, and look for lost lines
	@scripts/stack.sh up --only services
	cargo test --locked --test integration -- logs::soak::soak_for_long --ignored --nocapture

.PHONY: soak-broker
soak-broker: ## Stall the connection to the broker at every frame, one after the other
	@scripts/stack.sh up --only services
	cargo test --locked --test integration -- cut_anywhere --ignored --nocapture

.PHONY: chaos
chaos: ## Break everything for twenty minutes while jobs run, and reckon up what came of it
	@scripts/stack.sh up --only images
	cargo test --locked --test chaos the_long_round -- --ignored --nocapture

.PHONY: fuzz
fuzz: ## Fuzz archives, messages, their properties and results, an hour each (FUZZ_SECONDS, FUZZ_TARGETS)
	@scripts/fuzz.sh

.PHONY: fuzz-seeds
fuzz-seeds: ## Write the seeds of the fuzz targets anew from the code
	cargo test --locked --test integration -- fuzzing::write_the_seeds --ignored

.PHONY: audit
audit: ## Look for known vulnerabilities in the dependencies; needs the network
	@scripts/supply.sh audit

.PHONY: sbom
sbom: ## Write a bill of materials in CycloneDX to target/sbom
	@scripts/supply.sh sbom

.PHONY: up
up: ## The local stack: engine, images, RabbitMQ, SeaweedFS and one worker
	@scripts/stack.sh up

.PHONY: down
down: ## Stop the local stack; data stays
	@scripts/stack.sh down

.PHONY: schemas
schemas: ## Write the JSON Schemas anew from the Rust types
	cargo run --locked --quiet -- schema --output-dir schemas
