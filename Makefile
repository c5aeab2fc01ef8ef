# `make demo` shows the main job on a real Airflow; `make test` and `make slow` prove everything. All make what they need.

.DEFAULT_GOAL := help
.PHONY: help demo test slow ui load chaos scale matrix matrix-quick lint docs docs-output reference release clean

# A Python that writes no bytecode imports Airflow anew each time: twice as slow.
unexport PYTHONDONTWRITEBYTECODE

candidates := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
python := .venv/bin/python
pip := $(python) -m pip --disable-pip-version-check --no-input -qq

slow := $(addprefix tests/e2e/,test_ui.py test_chaos.py test_restarts.py test_scale.py)
drawn_at_random := $(addprefix tests/,operators/test_run_cost.py transfers/test_rough_cdn.py transfers/test_rough_uplink.py \
	api/test_broken_replies.py api/test_upload_replies.py \
	polling/test_watcher_machine.py files/test_storage.py)

help:
	@echo 'make demo    run outpaint_then_reframe on a real Airflow; VIDEO=clip.mp4 takes your clip, KEEP=1 leaves Airflow up'
	@echo 'make test    run the tests, end to end ones included'
	@echo 'make slow    run the other tests: the pages, an Airflow whose parts die and come back, a short night on Celery'
	@echo 'make ui      the pages inside a real Airflow, seen in a real Chromium; PICTURES=docs/images leaves pictures there'
	@echo 'make load    forty tasks that crash, sixty on two slots, two hundred that wait; what is drawn at random, at full figure'
	@echo 'make chaos   a hundred random mixes of everything that goes wrong; SEED=7 starts elsewhere, RUNS=20 is shorter, ON=celery'
	@echo 'make scale   a night of 200 clips on Celery with two of everything; CLIPS=3 TROUBLE=each NIGHTS=5 breaks things'
	@echo 'make matrix  every Airflow we promise: tests, demo, crashes, clears, pages; VERSIONS="3.1.8 3.4.0b2" picks some'
	@echo 'make lint    check style and types'
	@echo 'make docs    build the documentation into build/site; no network once its tools are there'
	@echo 'make reference    write docs/reference anew from the docstrings'
	@echo 'make docs-output  run what the pages show, and write the shown logs and messages anew'
	@echo 'make release      build and check sdist and wheel; SIGNING_KEY=... signs, INDEX_URL=... REPOSITORY_URL=... publish'
	@echo 'make clean   remove .venv, .matrix, caches and builds; output/ stays'

demo: .venv/installed
	@$(python) -m demo.run

test: .venv/installed-for-tests
	@$(python) -m pytest -n 3 --dist loadfile --max-worker-restart 0 $(addprefix --ignore=,$(slow))

slow: .venv/installed-for-scale
	@$(python) -m pytest -n 2 --dist loadfile --max-worker-restart 0 $(slow)

ui: .venv/installed-for-tests
	@$(python) -m pytest tests/e2e/test_ui.py

load: .venv/installed-for-tests
	@FULL_LOAD=1 $(python) -m pytest -n 2 --dist loadfile --max-worker-restart 0 tests/e2e/test_many_tasks.py tests/e2e/test_one_poll.py \
		$(drawn_at_random)

chaos: .venv/installed-for-scale
	@$(python) -m tests.submission.histories --seed $(or $(SEED),1) --histories $(or $(HISTORIES),50000)
	@$(python) -m tests.$(if $(filter celery,$(ON)),scale,e2e).chaos --seed $(or $(SEED),1) --runs $(or $(RUNS),100)

scale: .venv/installed-for-scale
	@$(python) -m tests.scale.night --clips $(or $(CLIPS),200) --trouble $(or $(TROUBLE),none) --seed $(or $(SEED),1) \
		--nights $(or $(NIGHTS),1)

matrix: $(python)
	@$(python) tests/e2e/matrix.py $(VERSIONS)

# What the gate runs of it: crashes, clears, the demo and a task's page, on all but the Airflow of `make test`.
matrix-quick: $(python)
	@$(python) tests/e2e/matrix.py --quick $(or $(VERSIONS),3.1.8 3.2.2 3.4.0b2)

lint: .venv/installed-for-tests
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

# In an environment of its own: the site's tools need no Airflow.
docs: .venv-docs/installed
	@.venv-docs/bin/python -m tools.site

reference: .venv-docs/installed
	@.venv-docs/bin/python -m tools.reference

docs-output: .venv/installed-for-tests
	@WRITE_DOCS=1 $(python) -m pytest -q tests/docs/test_seen.py

release: .venv/installed-for-tests
	@$(python) -m tools.release

clean:
	rm -rf .venv .venv-docs .matrix build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml | $(python)
	@echo 'Installing into .venv; this takes about a minute, once.'
	@$(pip) install -e '.[sandbox]'
	@touch $@

.venv/installed-for-scale: .venv/installed-for-tests
	@$(pip) install --group scale
	@touch $@

.venv/installed-for-tests: pyproject.toml | $(python)
	@echo 'Installing into .venv, the tools for tests too; this takes about a minute, once.'
	@$(pip) install -e '.[sandbox]' --group test
	@touch .venv/installed $@

.venv-docs/installed: pyproject.toml | $(python)
	@echo 'Installing the tools of the documentation into .venv-docs; this takes seconds, once.'
	@$(python) -m venv --clear .venv-docs
	@.venv-docs/bin/python -m pip --disable-pip-version-check --no-input -qq install --upgrade 'pip>=25.1'
	@.venv-docs/bin/python -m pip --disable-pip-version-check --no-input -qq install --group docs
	@touch $@

# Dependency groups need pip 25.1, newer than what some Pythons bring.
$(python):
	@for candidate in $(candidates); do \
		if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			"$$candidate" -m venv --clear .venv && $(pip) install --upgrade 'pip>=25.1' && exit 0; \
			rm -rf .venv; exit 1; \
		fi; \
	done; \
	echo 'This needs Python 3.11 or newer with its venv module, and none of these is one: $(candidates).' >&2; \
	echo 'Install one, or name it: make demo PYTHON=/path/to/python3.12' >&2; \
	exit 1
