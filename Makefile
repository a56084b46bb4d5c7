# Three commands to start with: make run, make test, make check.
# Each installs what it needs first; Python 3.11 or newer, git and make are enough.

PYTHON ?= python3
VENV ?= .venv
CONNECTIONS ?= 1000
SECONDS ?= 30
FUZZ_SECONDS ?= 60
SERVER ?= aserve
# Other arguments go into ARGS: make run ARGS="--workers auto", make test ARGS="-k range".
ARGS ?=

BIN := $(VENV)/bin
# The same versions everywhere, also of the build backend (pip 25.3 or newer).
PINS := --constraint constraints.txt --build-constraint constraints.txt
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run test check bench compare models fuzz conformance docker docs-settings lock clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '%-13s %s\n' "$$target" "$$text"; done

run: $(VENV)/.run ## serve the sample site at http://127.0.0.1:8000 (HOST, PORT, ARGS)
	@$(BIN)/aserve www/ $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

# Tests that measure time run alone, after the others. 5 is pytest's exit code for no tests, which ARGS
# may cause. Only their files are given to pytest: collecting all the others takes 10 s.
test: $(VENV)/.dev ## run the whole test suite (ARGS)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not alone" $(ARGS) || [ $$? = 5 ]
	@$(BIN)/python -m pytest -m alone $(or $(ARGS),$$(grep -rlw "pytest.mark.alone" tests)) || [ $$? = 5 ]

check: $(VENV)/.dev ## lint, formatting, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The server chooses a free port and prints it in its banner. With a fixed port, another server that
# already listens there could be measured.
bench: $(VENV)/.run ## server and load tester together on this machine (CONNECTIONS, SECONDS, ARGS)
	@log=$$(mktemp); $(BIN)/aserve www/ --port 0 >$$log 2>&1 & server=$$!; \
	trap 'kill $$server 2>/dev/null; wait $$server; rm -f $$log' EXIT; trap 'exit 130' INT TERM; \
	until url=$$(grep -om1 'http://[^[:space:]]*' $$log); do \
		kill -0 $$server 2>/dev/null || { cat $$log; exit 1; }; sleep 0.05; \
	done; \
	$(BIN)/abench -c $(CONNECTIONS) -t $(SECONDS) $(ARGS) $$url

compare: $(VENV)/.compare ## measure aserve and other servers, and write docs/comparison.md (ARGS)
	@$(BIN)/python -m benchmarks $(ARGS)

models: $(VENV)/.compare ## measure every I/O model, and write docs/models.md (ARGS)
	@$(BIN)/python -m benchmarks.models $(ARGS)

fuzz: $(VENV)/.dev ## fuzz the parsers of untrusted input (FUZZ_SECONDS)
	@$(BIN)/python -m tests.fuzz.run $(FUZZ_SECONDS)

conformance: $(VENV)/.dev ## check a server against the table of RFC clauses (SERVER=aserve|nginx|lighttpd|h2o|caddy)
	@$(BIN)/python -m tests.conformance.compare $(SERVER)

docker: ## like bench, in containers; the result is in results/ (CONNECTIONS, SECONDS)
	@export BENCH_CONNECTIONS=$(CONNECTIONS) BENCH_SECONDS=$(SECONDS); \
	trap 'docker compose down' EXIT; trap 'exit 130' INT TERM; \
	docker compose up --exit-code-from bench bench

docs-settings: $(VENV)/.run ## write the tables of docs/ and the report's schema from the code
	@$(BIN)/python docs/settings.py
	@$(BIN)/python docs/figures.py

# Use the oldest supported Python: its versions also run on newer ones. Only its venv comes with
# setuptools, an old one, which freeze leaves out by default; pbr needs one on every Python.
lock: ## rewrite constraints.txt with the newest versions
	@fresh=$$(mktemp -d); trap 'rm -rf $$fresh' EXIT; \
	$(MAKE) VENV=$$fresh PINS= $$fresh/.dev $$fresh/.compare && \
	$$fresh/bin/python -m pip install --quiet --upgrade setuptools && \
	{ echo '# Every package of every group, for Python 3.11 and newer. Written by: make lock'; \
	  $$fresh/bin/python -m pip freeze --all --exclude pip --exclude-editable; } >constraints.txt

clean: ## remove everything that make has created, also the virtual environment
	rm -rf $(VENV) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find aserve abench tests -name __pycache__ -prune -exec rm -rf {} +

# A stamp is a file in the environment that is newer than its sources: the second start is quick.
$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Python 3.11 or newer is needed and $(PYTHON) is %d.%d; try make PYTHON=python3.13" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade 'pip>=25.3'
	@touch $@

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.pip
	$(INSTALL) $(PINS) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(INSTALL) $(PINS) --group dev
	@touch $@

$(VENV)/.compare: $(VENV)/.run
	$(INSTALL) $(PINS) --group compare
	@touch $@
