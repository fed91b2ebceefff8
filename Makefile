# What people do with dhow's source. `make demo` and `make test` set up what is missing (Debian's packages).
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := build
.PHONY: build demo test sweep bench fuzz lint clean

# The program as it is meant to be used: optimised, static, at target/release/dhow.
build:
	@integration/setup build
	@. integration/static-build && RUSTFLAGS="$$RUSTFLAGS -C symbol-mangling-version=v0" \
		cargo build --release --target "$$target" && install -D "target/$$target/release/dhow" target/release/dhow

# A recipe becomes an image, the image a container under limits; shown step by step.
demo:
	@integration/setup demo
	@$(MAKE) build
	@bundles/demo/run

# All tests: unit tests, the claims on this host, the claims in the rig.
test:
	@integration/setup test
	@integration/suite

# The same, with the dear tests whole instead of a sample of each.
sweep:
	@integration/setup test
	@integration/suite --sweep

# Times and memory against runc, crun and the floor, in one interleaved run.
bench:
	@integration/setup bench
	@$(MAKE) build
	@integration/bench/run

# Feeds the parsers and deciders of hostile input with what libFuzzer finds, each for TIME seconds (600).
fuzz:
	@integration/setup fuzz
	@integration/fuzz/run

lint:
	@integration/setup lint
	cargo fmt --all --check
	@. integration/static-build && cargo clippy --target "$$target" --workspace --all-targets --features fault -- -D warnings
	@. integration/static-build && cargo clippy --target "$$target" --workspace -- -D warnings
	@. integration/static-build && cargo check --manifest-path integration/fuzz/Cargo.toml --target-dir target \
		--target "$$target" --bins
	@. integration/static-build && RUSTDOCFLAGS="-D warnings" cargo doc --target "$$target" --workspace --no-deps
	shellcheck $$(git ls-files | xargs awk 'FNR == 1 { if (/^#!\/bin\/(ba)?sh/) print FILENAME; nextfile }') \
		integration/static-build

clean:
	cargo clean
	rm -rf --one-file-system integration/vm/build
