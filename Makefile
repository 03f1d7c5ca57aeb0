# Needs GNU make and Python 3.11 or later, nothing else. `make help` lists the targets.

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=

# Debian packages of the programs that tests drive. Tests whose program is missing are skipped.
TEST_PACKAGES := groff-base openssl pamtester pinentry-tty strace swtpm swtpm-tools tpm2-tools

# What virtual machines need besides: 90 MB on the disk, so that only `make test-vm` gets it.
VM_PACKAGES := busybox-static e2fsprogs qemu-system-x86
VM_KERNEL_PACKAGE := linux-image-cloud-amd64
VM_KERNEL := build/vm-kernel

# The resolver that `make requirements` uses. It is never installed into the environment.
UV := uv==0.13.8

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := $(wildcard src tests bench docs/draw.py docs/man.py)

PIP_INSTALL := $(BIN)/python -I -m pip install --disable-pip-version-check --no-input --quiet
APT_INSTALL := apt-get -qq update </dev/null && DEBIAN_FRONTEND=noninteractive \
	apt-get -qq -o Dpkg::Use-Pty=0 --no-install-recommends install </dev/null

.PHONY: help quickstart test lint test-packages soak attack bench man test-vm test-fresh \
	requirements clean FORCE
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1  \2/p' Makefile | \
	    while read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done
	@echo
	@echo '  PYTHON=...            the interpreter to use (now: $(PYTHON))'
	@echo '  PYTEST_ARGS=...       arguments for pytest'
	@echo '  BENCH_ARGS=...        arguments for the bench (--help lists them)'
	@echo '  KEYISO_REQUIRE_ALL=1  a test that would be skipped fails'
	@echo '  KEYISO_...=...        seeds and sizes of the random tests: docs/testing.md'

quickstart: $(STAMP) ## install into .venv and show keyiso at work
	$(BIN)/keyiso quickstart

test: $(STAMP) test-packages lint ## check the code and run the tests
ifeq "$(strip $(PYTEST_ARGS))" ""
	@$(RUN_LOTS)
else
	$(BIN)/python -m pytest $(PYTEST_ARGS)
endif

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)

# What else can be set is in docs/testing.md.
soak: export KEYISO_FUZZ_INPUTS ?= 200000
soak: export KEYISO_FUZZ_FRAMES ?= 20000
soak: $(STAMP) test-packages ## run the long tests: an hour of kills, and many bad inputs
	$(BIN)/python -m pytest -m 'soak or fuzz' --timeout=0 $(PYTEST_ARGS)

attack: $(STAMP) ## as root: attack armed processes, bare ones and services
	$(BIN)/python -m pytest -m attack --timeout=0 $(PYTEST_ARGS)

bench: $(STAMP) ## measure against in-process keys
	$(BIN)/python -m bench $(BENCH_ARGS)

man: $(STAMP) ## write the manual pages into build/man
	$(BIN)/python docs/man.py build/man

test-vm: TEST_PACKAGES += $(VM_PACKAGES)
test-vm: $(STAMP) test-packages $(VM_KERNEL) ## boot, reboot and attack virtual machines
	$(BIN)/python -m pytest -m 'vm or reboot' --timeout=0 $(PYTEST_ARGS)

test-fresh: ## as root: quickstart and test in a minimal Debian 12
	tests/fresh/run

requirements: ## resolve requirements.txt anew, to the latest versions
	@set -eu; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; trap 'exit 1' INT TERM; \
	$(PYTHON) -m venv "$$dir/venv"; \
	"$$dir/venv/bin/python" -m pip install --disable-pip-version-check --quiet '$(UV)'; \
	{ \
	    echo '# Written by "make requirements" from pyproject.toml and requirements.in.'; \
	    "$$dir/venv/bin/uv" pip compile --cache-dir "$$dir/cache" --quiet \
	        --universal --python-version 3.11 --fork-strategy fewest \
	        --generate-hashes --no-header pyproject.toml requirements.in; \
	} >"$$dir/requirements.txt"; \
	cp "$$dir/requirements.txt" requirements.txt

clean: ## remove .venv, caches and what was built
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage*
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Most tests wait for processes: lots side by side take much less time than one after the other.
# The first is printed as it goes, the others when they have ended.
LOT_2 := tests/conformance
LOT_3 := tests/bench tests/cli
LOT_4 := tests/crash tests/fuzz tests/restart tests/scale
LOT_5 := tests/passport
RUN_LOTS = \
	printed=$$(mktemp -d); trap 'rm -rf "$$printed"' EXIT; trap 'exit 1' INT TERM; \
	$(BIN)/python -m pytest $(LOT_2) >"$$printed/2" 2>&1 & second=$$!; \
	$(BIN)/python -m pytest $(LOT_3) >"$$printed/3" 2>&1 & third=$$!; \
	$(BIN)/python -m pytest $(LOT_4) >"$$printed/4" 2>&1 & fourth=$$!; \
	$(BIN)/python -m pytest $(LOT_5) >"$$printed/5" 2>&1 & fifth=$$!; \
	$(BIN)/python -m pytest $(addprefix --ignore=,$(LOT_2) $(LOT_3) $(LOT_4) $(LOT_5)); status=$$?; \
	for lot in $$second $$third $$fourth $$fifth; do wait $$lot || status=1; done; \
	cat "$$printed"/*; \
	exit $$status

# The stamp is written last and says what the environment was made for: its scripts hold
# absolute paths and its packages fit one Python, so a moved checkout or another PYTHON, like
# an interrupted install, means making it anew.
MADE_FOR := $(CURDIR) $(shell $(PYTHON) -c \
	'import sys; print(sys.base_prefix, "%d.%d" % sys.version_info[:2])' 2>/dev/null)
ifneq "$(shell cat $(STAMP) 2>/dev/null)" "$(MADE_FOR)"
$(STAMP): FORCE
endif

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "keyiso needs Python 3.11 or later, and $(PYTHON) is not: $$($(PYTHON) --version 2>&1)"; \
	    echo 'Name another one: make PYTHON=/path/to/python3 ...'; \
	    exit 2; \
	} >&2
	@$(ENSURE_VENV)
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --require-hashes --only-binary :all: --requirement requirements.txt
	$(PIP_INSTALL) --no-build-isolation --no-deps --editable .
	@echo '$(MADE_FOR)' >$@

# Debian has ensurepip, without which venv makes no pip, in a package of its own.
ENSURE_VENV = \
	if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then exit 0; fi; \
	package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
	    $(APT_INSTALL) $$package && $(PYTHON) -c 'import ensurepip' && exit 0; \
	fi; \
	{ \
	    echo '$(PYTHON) cannot make virtual environments: it lacks ensurepip.'; \
	    echo 'Run this as root (it is for Debian and its kin), then make again:'; \
	    echo "    apt-get update && apt-get install -y $$package"; \
	} >&2; \
	exit 2

# A kernel of Debian is unpacked, not installed. The package that is named depends on the newest.
$(VM_KERNEL):
	@mkdir -p $@.new; \
	package=$$(apt-cache depends --important $(VM_KERNEL_PACKAGE) 2>/dev/null | \
	    sed -n 's/^ *Depends: *//p'); \
	if [ -n "$$package" ] && (cd $@.new && apt-get -qq -o APT::Sandbox::User=root download "$$package" </dev/null); then \
	    dpkg-deb --fsys-tarfile $@.new/*.deb | \
	        tar -x -C $@.new --wildcards './boot/vmlinuz-*' '*/fs/efivarfs/*' \
	            '*/drivers/virtio/*' '*/char/virtio_console.ko'; \
	    rm $@.new/*.deb; mv $@.new $@; \
	else \
	    rm -rf $@.new; \
	    echo 'No kernel of Debian can be had here (virtual machines are skipped)'; \
	fi

test-packages:
	@missing=; \
	for package in $(TEST_PACKAGES); do \
	    status=$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null); \
	    [ "$$status" = installed ] || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then \
	    $(APT_INSTALL) $$missing && exit 0; \
	fi; \
	echo "Debian packages not installed:$$missing (tests that need them are skipped)"
