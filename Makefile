# Three commands to start with: make run, make test, make check.
# Each installs what it needs first; Python 3.11 or newer, git and make are enough.

PYTHON ?= python3
VENV ?= .venv
CONNECTIONS ?= 1000
SECONDS ?= 30
FUZZ_SECONDS ?= 60
FLIPS ?= 50
SERVER ?= aserve
# Other arguments go into ARGS: make run ARGS="--workers auto", make test ARGS="-k range".
ARGS ?=

BIN := $(VENV)/bin
# The same versions everywhere, also of the build backend (pip 25.3 or newer).
PINS := --constraint constraints.txt --build-constraint constraints.txt
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Each process would compile every test, and each program under test its package, if Python were told
# to write no bytecode, as images of containers often do.
unexport PYTHONDONTWRITEBYTECODE

PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal
QUICK = not (slow or docker or browser or docs or alone)

.PHONY: help run test test-all check coverage mutation bench compare models fuzz conformance sites docker docs docs-serve docs-settings lock clean hooks release

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

run: $(VENV)/.run ## serve the sample site at http://127.0.0.1:8000 (HOST, PORT, ARGS)
	@$(BIN)/aserve www/ $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

# 5 is pytest's exit code for no tests, which ARGS may cause.
test: $(VENV)/.dev ## run the tests that a change needs, in about two minutes (ARGS)
	@$(PYTEST) -m "$(QUICK)" $(ARGS) || [ $$? = 5 ]

check: $(VENV)/.dev ## lint, formatting, types, import contracts, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests/aserve/config/typed_calls.py
	$(BIN)/lint-imports
	$(BIN)/codespell

# The quick tests, which must reach the coverage of the gate, and then all others. Tests that measure
# time run alone. Only their files are given to pytest: collecting all the others takes seconds.
# Of each property: make test tries fewer.
test-all: export SUITE_EXAMPLES = 100
test-all: coverage $(VENV)/.docs $(VENV)/.node ## run every test: Docker, browser, all models and rows, a minute of fuzzing (ARGS)
	@$(PYTEST) -m "not ($(QUICK) or alone)" $(ARGS) || [ $$? = 5 ]
	@$(BIN)/python -m pytest -m alone $(or $(ARGS),$$(grep -rlw "pytest.mark.alone" tests)) || [ $$? = 5 ]
	@$(if $(ARGS),,$(BIN)/python -m tests.fuzz.run $(FUZZ_SECONDS))

# Every process writes a file of its own. With ARGS, the gate is left out.
coverage: $(VENV)/.dev ## run the quick tests and check how many branches they reach (ARGS)
	@rm -rf .coverage && mkdir .coverage
	@COVERAGE_FILE=$(CURDIR)/.coverage/data $(BIN)/python -m coverage run -m \
		pytest -n auto --dist worksteal -m "$(QUICK)" $(ARGS) || [ $$? = 5 ]
	@COVERAGE_FILE=$(CURDIR)/.coverage/data $(BIN)/python -m coverage combine --quiet
	@COVERAGE_FILE=$(CURDIR)/.coverage/data $(BIN)/python -m coverage report \
		--skip-covered $(if $(ARGS),--fail-under=0)

mutation: $(VENV)/.dev ## flip facts of the conformance table: every flip must fail (FLIPS)
	@$(BIN)/python -m tests.conformance.mutations $(FLIPS)

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

docs: $(VENV)/.docs ## build the documentation as a site in build/site, and check its links
	@$(BIN)/python docs/build.py

docs-serve: docs ## the same, served by aserve (HOST, PORT, ARGS)
	@$(BIN)/aserve build/site $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

sites: $(VENV)/.dev ## build the sites of three generators with npm and pip, for tests in Chromium
	@$(BIN)/python tools/exported_sites.py $(VENV)/sites

docs-settings: $(VENV)/.run ## write the tables of docs/ and the report's schema from the code
	@$(BIN)/python docs/settings.py
	@$(BIN)/python docs/figures.py
	@$(BIN)/python docs/course.py

# Use the oldest supported Python: its versions also run on newer ones. Only its venv comes with
# setuptools, an old one, which freeze leaves out by default; pbr needs one on every Python.
lock: ## rewrite constraints.txt with the newest versions
	@fresh=$$(mktemp -d); trap 'rm -rf $$fresh' EXIT; \
	$(MAKE) VENV=$$fresh PINS= $$fresh/.dev $$fresh/.compare $$fresh/.docs && \
	$$fresh/bin/python -m pip install --quiet --upgrade setuptools && \
	{ echo '# Every package of every group, for Python 3.11 and newer. Written by: make lock'; \
	  $$fresh/bin/python -m pip freeze --all --exclude pip --exclude-editable; } >constraints.txt

clean: ## remove everything that make has created, also the virtual environment
	rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find aserve abench tests -name __pycache__ -prune -exec rm -rf {} +

hooks: $(VENV)/.dev ## check each commit as make check does, by pre-commit
	@$(BIN)/pre-commit install

release: $(VENV)/.dev ## rehearse a release: build both distributions into dist/ and check them
	@$(BIN)/python tools/release.py

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

$(VENV)/.docs: $(VENV)/.run
	$(INSTALL) $(PINS) --group docs
	@touch $@

# A client of another language, with the versions of its lock file. Its tests are skipped without it.
$(VENV)/.node: tests/clients/tus/package-lock.json | $(VENV)/.pip
	@if command -v npm >/dev/null; then \
		mkdir -p $(VENV)/node && cp tests/clients/tus/package*.json $(VENV)/node && \
		npm ci --prefix $(VENV)/node --ignore-scripts --no-audit --no-fund --silent && touch $@ || \
		echo "tus-js-client could not be installed by npm: its tests are skipped"; \
	fi
