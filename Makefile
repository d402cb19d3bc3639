PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/digits
BIN = $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt

.PHONY: demo test check bench clean

demo: $(VENV)/demo.stamp  ## train the digits preset, then sample and score it
	$(BIN)/orthogan train digits --out $(RUN)
	$(BIN)/orthogan sheet classes $(RUN) --out $(RUN)/classes.png --replace
	$(BIN)/orthogan sheet truncation $(RUN) --out $(RUN)/truncation.png --replace
	$(BIN)/python examples/recognize_digits.py $(RUN)
	$(BIN)/orthogan evaluate $(RUN) --against digits --samples 1000 --real 1000 --out $(RUN)/scores.json
	@echo
	@echo "Look at       $(RUN)/classes.png       a row of samples for each digit"
	@echo "              $(RUN)/truncation.png    a row for each truncation threshold, 2 to 0.04"
	@echo "              $(RUN)/scores.json       scores with the protocol they were computed by"
	@echo "Try next      $(BIN)/orthogan sample $(RUN) -n 64 --classes 3,7 --truncation 0.5 --out samples"
	@echo "              $(BIN)/orthogan train small-32 --data YOUR_FOLDER --out runs/mine"

test: $(VENV)/dev.stamp  ## run every test, on all cores
	$(BIN)/pytest --numprocesses auto --dist worksteal

check: $(VENV)/dev.stamp  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/dev.stamp  ## speed side by side; RIVAL=path of a BigGAN-PyTorch checkout times it too
	$(BIN)/python -m benchmarks.run $(if $(RIVAL),--rival $(RIVAL))

clean:
	rm -rf $(VENV) build dist src/*.egg-info

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(INSTALL) --editable '.[$*]'
	touch $@
