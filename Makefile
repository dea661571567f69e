# The commands of this repository. `make run` and `make test` need nothing else first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build web run demo test test-rust test-web test-clients test-sdk test-browser test-scripts \
        test-all test-long planted-faults fuzz load lint lint-files lint-rust lint-docs lint-dependencies lint-web format documents bench

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: ## install what the tests need: npm packages, a Python environment, Debian packages
	scripts/setup.sh test

build: ## build the server and hearthctl as they are, with or without the web client
	scripts/setup.sh build
	cargo build --locked

# The web client is embedded by the cargo build that follows it.
web: ## build the web client, if anything in it changed
	scripts/setup.sh web
	@$(MAKE) --no-print-directory web-client/dist/index.html

web-client/dist/index.html: $(shell find web-client -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/e2e/*')
	npm --prefix web-client run build

# Without Node.js the server runs all the same, without a web page.
run: ## start a homeserver on loopback with SQLite; PORT=8008
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web; fi
	@$(MAKE) --no-print-directory build
	@scripts/run.sh

demo: web ## start two organizations that talk to each other
	scripts/setup.sh demo
	cargo build --locked
	scripts/two-servers.sh scripts/demo.py

test: ## everything that must pass before a change lands
	scripts/setup.sh test
	$(MAKE) --no-print-directory web
	cargo build --locked
	$(MAKE) --no-print-directory test-scripts test-rust test-web test-clients test-browser

test-rust: ## the Rust tests, on SQLite and on a private PostgreSQL
	scripts/postgres.sh run cargo test --workspace --locked

test-web: ## the web client's unit tests
	npm --prefix web-client test

# With the workspace's features, it is what the Rust tests have compiled already.
test-clients: ## Matrix clients that are not ours, on both engines, and the demonstration's story
	cargo build --locked --workspace --example stored
	scripts/two-servers.sh scripts/demo.py --once
	HEARTH_RATE_LIMIT__ENABLED=false scripts/two-servers.sh tests/clients/run.sh
	ENGINE=postgres HEARTH_RATE_LIMIT__ENABLED=false scripts/postgres.sh run scripts/two-servers.sh tests/clients/run.sh

# It brings older versions of our libraries along, and compiles for as long as they take.
test-sdk: ## the client under Element X (matrix-sdk), on both engines
	cargo build --locked
	HEARTH_RATE_LIMIT__ENABLED=false scripts/two-servers.sh tests/clients/matrix-sdk/run.sh
	ENGINE=postgres HEARTH_RATE_LIMIT__ENABLED=false scripts/postgres.sh run scripts/two-servers.sh tests/clients/matrix-sdk/run.sh

# Sign-ups in a row from one address are what the rate limits are there to stop.
test-browser: ## the web client in Chromium, on two servers
	. scripts/lib.sh && CHROMIUM=$$(chromium_bin) HEARTH_RATE_LIMIT__ENABLED=false \
		scripts/two-servers.sh npm --prefix web-client run e2e

test-scripts: ## the tests of the scripts
	python3 scripts/dependency-policy-test.py

test-all: lint test test-sdk test-long bench ## lint, test, a client that compiles for long, search for long, and measure

# More seeds of everything that draws its cases, and the proof that the oracles see.
test-long: ## many seeds of both simulators and of sync, kills and power cuts, planted faults, fuzzing
	scripts/setup.sh test
	HEARTH_SIM_SEEDS=2000 cargo test --locked -p hearth-protocol --test simulator -- --nocapture
	HEARTH_SIM_SEEDS=500 scripts/postgres.sh run cargo test --locked -p hearth-tests --test simulator -- --nocapture
	HEARTH_SYNC_SEEDS=40 scripts/postgres.sh run cargo test --locked -p hearth-engine --lib stories
	HEARTH_FAULT_ROUNDS=10 scripts/postgres.sh run cargo test --locked -p hearth-tests --test stories faults
	@$(MAKE) --no-print-directory planted-faults fuzz

planted-faults: ## plant known faults in a copy of the code and see the simulators find each
	scripts/postgres.sh run scripts/planted-faults.sh

fuzz: ## fuzz every parser of what comes from outside; needs a nightly toolchain; SECONDS_EACH=60
	tests/fuzz/run.sh $${SECONDS_EACH:-60}

lint: lint-files lint-rust lint-docs lint-dependencies lint-web ## format, lints, documentation, dependencies

lint-files:
	scripts/tidy.sh

lint-rust:
	scripts/setup.sh build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

lint-docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

lint-dependencies:
	scripts/dependency-policy.py

lint-web:
	scripts/setup.sh web
	npm --prefix web-client run lint
	npm --prefix web-client run typecheck
	@$(MAKE) --no-print-directory web-client/dist/index.html
	npm --prefix web-client run budget

format: ## format everything
	cargo fmt --all
	npm --prefix web-client run format

documents: ## write config/hearth.example.toml and docs/configuration.md anew
	cargo run --locked -p hearth-config --example document

# A busy machine makes every figure larger: each program's are told with the load before it.
load_now = @printf 'Load of the machine: %s\n' "$$(cut -d' ' -f1-3 /proc/loadavg)"

bench: ## measure the rules, storage, rooms, reading, and two servers of a release build
	scripts/setup.sh test
	cargo bench --locked --no-run -p hearth-protocol --bench rules
	$(load_now)
	cargo bench --locked -p hearth-protocol --bench rules
	cargo bench --locked --no-run -p hearth-storage --bench commits
	$(load_now)
	scripts/postgres.sh run cargo bench --locked -p hearth-storage --bench commits
	cargo bench --locked --no-run -p hearth-engine --bench rooms
	$(load_now)
	cargo bench --locked -p hearth-engine --bench rooms
	cargo bench --locked --no-run -p hearth-engine --features testing --bench reading
	$(load_now)
	cargo bench --locked -p hearth-engine --features testing --bench reading
	cargo build --locked --release
	$(load_now)
	PROFILE=release HEARTH_RATE_LIMIT__ENABLED=false scripts/two-servers.sh scripts/bench.py

# Any homeserver can be measured: target/release/hearth-load --help
load: ## build the load tool
	cargo build --locked --release -p hearth-tests --bin hearth-load
