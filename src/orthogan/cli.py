"""The command `orthogan`: a table of names, each the `main` of one module, imported when it is called."""

import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import orthogan
from orthogan.errors import UserError, is_out_of_memory, one_line, unknown

COMMANDS = {
    "train": "train a preset on your images",
    "resume": "go on with a run exactly where it stopped",
    "branch": "begin a new run from a checkpoint of another, with other settings",
    "sample": "write images from a run or a checkpoint",
    "sheet": "one picture of samples by class, or across truncation thresholds",
    "interpolate": "walk between latents or classes: a sheet, a GIF or an MP4",
    "evaluate": "score runs or folders of images against real ones",
    "compare": "rank scores of one protocol, and say which differences hold",
    "truncation": "scores and samples over truncation thresholds, and whether the generator stands them",
    "memorization": "what D says of images it has not seen, and the nearest training images of samples",
    "spectra": "singular values of every layer over a run, or of a checkpoint",
    "report": "a run, or several side by side, as one HTML page that opens anywhere",
    "study": "rerun a paper's comparison on your images: stabilizers, convergence, truncation, ...",
    "import": "make a checkpoint from one of another project: BigGAN-PyTorch, StudioGAN, StyleGAN2-ADA, ...",
    "export": "the generator alone: a file, a graph of ONNX, a folder for the hub",
    "data": "look at a source of images before training; check or clear the cache",
    "presets": "list, show and compare the named configurations",
    "doctor": "versions, processor, GPU, feature weights, and what is missing",
    "completion": "a script that completes these words in bash or zsh",
}

MODULES = {"import": "import_"}
"""Modules of commands whose names Python keeps for itself."""

# Threads that wait for one another spin; where other programs share the processor, GNU OpenMP's default of spinning for
# long makes training tens of times slower. This one costs nothing on a quiet machine. Read when PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: orthogan COMMAND ...", "", *lines, "", "orthogan COMMAND --help tells its options."])


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 an error that the user can mend, 130 interrupted.

    SIGTERM ends it with 143, wherever a command does not handle it itself.
    """
    try:
        try:
            with _leaving_on_sigterm():
                return run(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
    except UserError as error:
        return refused(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as left:
        if left.code == TERMINATED:
            print("terminated", file=sys.stderr)
        raise
    except BrokenPipeError:
        # `orthogan presets | head` closed the pipe; leave without a traceback from the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return refused(f"{where}{error.strerror or error}; check the path and the disk")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        why = one_line(error, 200) or "MemoryError"
        return refused(f"not enough memory ({why}); ask for less at once, or end other programs")


TERMINATED = 128 + signal.SIGTERM


@contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """SIGTERM as an exception, so that what is being written is cleared up on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version", "version"):
        print(f"orthogan {orthogan.__version__}")
        return 0
    if argv[0] not in COMMANDS:
        raise unknown("command", argv[0], COMMANDS)
    try:
        command = importlib.import_module(f"orthogan.commands.{MODULES.get(argv[0], argv[0])}")
    except ImportError as error:
        raise UserError(f"a package cannot be imported ({error}); `orthogan doctor` tells what is missing") from error
    return int(command.main(argv[1:]))


def refused(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 2
