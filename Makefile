# The commands to know: `make demo`, `make check` while you work, `make test` before a change lands.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Set up everything and run real jobs, from message to result
	@scripts/demo.sh

.PHONY: dashboard
dashboard: ## A page with what runs on the local stack, and a bot with a live log
	@scripts/dashboard.sh

.PHONY: check
check: ## The inner loop: formatting, lints and unit tests, without servers
	@scripts/check.sh

.PHONY: test
test: ## Set up everything and run every check
	@scripts/test.sh

.PHONY: test-long
test-long: ## Run the tests that take too long for `make test`: floods, soaks and long rounds, about an hour
	@scripts/stack.sh up --only services
	cargo test --locked --test integration -- --ignored --skip write_the_seeds --test-threads 1 --nocapture
	cargo test --locked --test chaos the_long_round -- --ignored --nocapture
	scripts/deploy-check.sh deb

.PHONY: bench
bench: ## Measure Longshore beside Celery, `docker run` and the engine's bare API, about half an hour
	@scripts/stack.sh up --only services
	@scripts/bench.sh

.PHONY: bench-logs
bench-logs: ## Measure what logs cost
	@scripts/stack.sh up --only services
	cargo bench --locked --bench logs

.PHONY: bench-scale
bench-scale: ## Measure how many jobs a second a broker and a store carry, with an engine that costs nothing
	@scripts/stack.sh up --only services
	cargo bench --locked --bench scale

.PHONY: soak-logs
soak-logs: ## Kill workers and stop the store for ten minutes, and look for lost lines
	@scripts/stack.sh up --only services
	cargo test --locked --test integration -- logs::soak::soak_for_long --ignored --nocapture

.PHONY: soak-broker
soak-broker: ## Stall the connection to the broker at each frame in turn
	@scripts/stack.sh up --only services
	cargo test --locked --test integration -- cut_anywhere --ignored --nocapture

.PHONY: chaos
chaos: ## Break everything for twenty minutes while jobs run, then check every result
	@scripts/stack.sh up --only images
	cargo test --locked --test chaos the_long_round -- --ignored --nocapture
	scripts/deploy-check.sh deb

.PHONY: simulate
simulate: ## Play histories of the worker under simulation: SEEDS of them from SEED on, MINUTES at most
	cargo test --locked --profile simulation --lib -- simulation::tests::many_histories --ignored --nocapture

.PHONY: simulate-scale
simulate-scale: ## Let a million starts wait for a hundred workers under simulation, and count what a job costs
	cargo test --locked --profile simulation --lib -- simulation::scale --include-ignored --nocapture

.PHONY: fuzz
fuzz: ## Fuzz archives, messages, their properties and results, an hour each (FUZZ_SECONDS, FUZZ_TARGETS)
	@scripts/fuzz.sh

.PHONY: fuzz-seeds
fuzz-seeds: ## Generate the seeds of the fuzz targets from the code
	cargo test --locked --test integration -- fuzzing::write_the_seeds --ignored

.PHONY: audit
audit: ## Look for known vulnerabilities in the dependencies; needs the network
	@scripts/supply.sh audit

.PHONY: sbom
sbom: ## Write a CycloneDX bill of materials to target/sbom
	@scripts/supply.sh sbom

.PHONY: deb
deb: ## Build the Debian package into target/debian
	@scripts/deb.sh

.PHONY: release
release: ## Build all that a release consists of into target/release-files
	@scripts/release.sh

.PHONY: deploy-check
deploy-check: ## Try the Debian package, the production Compose file and the Kubernetes manifests
	@scripts/stack.sh up --only images
	@scripts/deploy-check.sh

.PHONY: book
book: ## Build the documentation as a site into target/book
	cargo build --locked --quiet --bin longshore
	@scripts/book.sh

.PHONY: up
up: ## Start the local stack: engine, images, RabbitMQ, SeaweedFS and one worker
	@scripts/stack.sh up

.PHONY: down
down: ## Stop the local stack; data stays
	@scripts/stack.sh down

.PHONY: schemas
schemas: ## Generate the JSON Schemas from the Rust types, and the clients' types from the schemas
	cargo run --locked --quiet -- schema --output-dir schemas
	clients/generate.py

.PHONY: clients
clients: ## Build the client packages for Python and TypeScript, and test them against a worker
	@scripts/stack.sh up --only services
	cargo build --locked --quiet --bin longshore
	scripts/clients.sh
