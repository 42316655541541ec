# `make lab` opens the notebooks, `make demo` shows them to a class, `make test` proves them. Each does all of its own
# set-up, in .venv.
# make 3.81 and a plain sh are enough (macOS has no more). Every path is relative, so the name of this folder
# may hold spaces and accents, and every tool runs as `python -m`, since scripts in .venv/bin break on such names.

PYTHON = .venv/bin/python
PORT = 8888

.PHONY: help lab demo test notebooks bands bench

help:
	@echo "make lab        set up, then open notebooks/01_clip.ipynb in JupyterLab (make lab PORT=8889: on another port)"
	@echo "make demo       set up, then serve the demos of all notebooks for a projector (make demo PORT=8867: on another port)"
	@echo "make test       set up, then run every test: style, package, notebooks, browser"
	@echo "make notebooks  run all notebooks afresh, keep their outputs, renew README.md and docs/teaching"
	@echo "make bands      run all notebooks with three seeds, on two threads and on one, and renew the bands in README.md"
	@echo "make bench      time what must be fast, beside other packages, and renew the table of timings in README.md"

lab:
	@sh tools/setup.sh lab
	@$(PYTHON) tools/lab.py "$(PORT)"

demo: PORT = 8866
demo:
	@sh tools/setup.sh demo
	@$(PYTHON) tools/demo.py "$(PORT)"

test:
	@sh tools/setup.sh test
	@echo "1/4 Style, with ruff."
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@echo "2/4 The package and the house, with pytest, two tests at a time, each on one thread."
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 --dist worksteal
	@echo "3/4 The notebooks, at full size, with nbval, offline. They train real models: some minutes."
	@$(PYTHON) tools/offline.py $(PYTHON) -m pytest -q -p tools.budgets --nbval-lax --nbval-current-env --nbval-cell-timeout=900 notebooks
	@echo "4/4 JupyterLab and the demos in a browser, offline, two tests at a time."
	@OMP_NUM_THREADS=1 $(PYTHON) tools/offline.py $(PYTHON) -m pytest -q -n 2 --dist loadfile -m "browser and not bench" tests
	@echo "All tests passed."

notebooks:
	@sh tools/setup.sh test
	@$(PYTHON) tools/notebooks.py notebooks
	@$(PYTHON) tools/readme.py README.md notebooks
	@$(PYTHON) tools/equations.py docs/teaching notebooks

bands:
	@sh tools/setup.sh test
	@$(PYTHON) tools/bands.py README.md notebooks

bench:
	@sh tools/setup.sh test
	@$(PYTHON) -m pip install --quiet -e ".[bench]"
	@BENCH_README=README.md $(PYTHON) -m pytest -m bench tests
