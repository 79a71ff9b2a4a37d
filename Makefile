# What to type; what it does is in scripts/.
.DEFAULT_GOAL := help
.PHONY: help demo test check build release clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Install what is missing, build, and show a cluster that survives its primary
	@scripts/demo.sh

test: ## Install what is missing; run every check and every test, on real servers too
	@scripts/test.sh

check: ## Format, lints and the project's own checks; no servers
	@bash -euc '. scripts/cargo-path.sh; cargo fmt --all --check; \
	  cargo clippy --workspace --all-targets --quiet -- -D warnings; cargo xtask tidy'

build: ## Build target/debug/mainstay
	@bash -euc '. scripts/cargo-path.sh; cargo build --package mainstay'

release: ## Build target/release/mainstay, optimised and stripped
	@bash -euc '. scripts/cargo-path.sh; cargo build --package mainstay --release'

clean: ## Remove what cargo built; keep the servers and environments that tests use
	@bash -euc '. scripts/cargo-path.sh; cargo clean --profile dev; cargo clean --profile release'
