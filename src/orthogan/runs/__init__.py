"""Beginning, continuing and branching a run."""

from orthogan.runs.beginning import resume, start
from orthogan.runs.branching import branch
from orthogan.runs.checks import check_compile, check_names, load_data, resolve
from orthogan.runs.folders import (
    check_writable,
    is_run,
    nearest_existing,
    refuse_existing,
    refuse_inside_data,
    whole_path,
)

__all__ = [
    "branch",
    "check_compile",
    "check_names",
    "check_writable",
    "is_run",
    "load_data",
    "nearest_existing",
    "refuse_existing",
    "refuse_inside_data",
    "resolve",
    "resume",
    "start",
    "whole_path",
]
