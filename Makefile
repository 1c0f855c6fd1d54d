# These commands do everything, set-up included:
#   make demo [ARGS="episodes:=30 seed:=7 data_dir:=/tmp/demo"]   a trained model plays; a video of it
#   make sim  [ARGS="profile:=laptop minutes:=15 data_dir:=/tmp/poke"]
#   make rig  [ARGS="minutes:=10 profile:=test"]      the real robot's nodes on virtual hardware
#   make test
#   make setup                                        the set-up alone
PYTHON ?= python3
IN_WORKSPACE = $(PYTHON) tools/workspace.py run
ARGS ?=

.PHONY: setup demo sim rig test lint unit graph clean

setup:
	@$(PYTHON) tools/workspace.py setup

demo:
	@$(IN_WORKSPACE) ros2 launch planet_bringup evaluate.launch.py episodes:=30 $(ARGS)

sim:
	@$(IN_WORKSPACE) ros2 launch planet_bringup sim.launch.py $(ARGS)

rig:
	@$(IN_WORKSPACE) ros2 launch planet_bringup rig.launch.py $(ARGS)

test: lint unit graph

lint:
	@$(IN_WORKSPACE) ruff check .
	@$(IN_WORKSPACE) ruff format --check .
	@$(IN_WORKSPACE) mypy

# Plain Python: no ROS is imported, and the tests see to it.
unit:
	@$(IN_WORKSPACE) python -m pytest -m "not ros" $(ARGS)
	@$(IN_WORKSPACE) python -m pytest -m "not ros" compat

# Real nodes, in processes of their own.
graph:
	@$(IN_WORKSPACE) python -m pytest -m ros compat
	@$(IN_WORKSPACE) python -m pytest -m ros $(ARGS)

clean:
	rm -rf .venv build install log
