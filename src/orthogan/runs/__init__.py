"""Beginning, continuing, branching and fine-tuning a run."""

from orthogan.runs.beginning import resume, start
from orthogan.runs.branching import branch
from orthogan.runs.checks import check_compile, check_names, load_data, resolve
from orthogan.runs.fine_tuning import InitConfig, configuration, fine_tune, refuse_misfit
from orthogan.runs.folders import check_folder, is_run, refuse_existing, whole_path
from orthogan.runs.unread import refuse_unread

__all__ = [
    "InitConfig",
    "branch",
    "check_compile",
    "check_folder",
    "check_names",
    "configuration",
    "fine_tune",
    "is_run",
    "load_data",
    "refuse_existing",
    "refuse_misfit",
    "refuse_unread",
    "resolve",
    "resume",
    "start",
    "whole_path",
]
