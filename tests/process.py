"""The command line, or a script of the tests, in a process of its own: exit status, output, and no traceback.

Processes are forked from a server that has imported PyTorch already, so each costs milliseconds instead of seconds.
What an interpreter does at its very end, or before the imports, needs `subprocess` instead.
"""

import multiprocessing
import os
import resource
import runpy
import sys
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["process", "orthogan.commands.train", "orthogan.commands.resume"])


@dataclass(frozen=True)
class Finished:
    """How a command ended; a negative status is the number of the signal that killed it."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """What follows `error: `, of a command that ended with the one line (or list) for people and status 2."""
        assert self.status == 2, f"status {self.status}: {self.out}{self.err}"
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return self.err[self.err.index("error: ") + len("error: ") :].strip()


class Running:
    """A command that has been started, and may be sent signals by its `process.pid`."""

    def __init__(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        limits: Mapping[int, int] | None = None,
    ):
        """The words are those after `orthogan`, or a script and its own.

        `limits` are of `resource`: RLIMIT_FSIZE in bytes of a file; RLIMIT_AS in bytes beyond those in use.
        """
        self._texts = tempfile.TemporaryDirectory()
        folder = Path(self._texts.name)
        self.out, self.err = folder / "out", folder / "err"
        argv = [str(word) for word in words]
        # The server keeps the environment that it was started with.
        whole = {**os.environ, **(env or {})}
        place = str(cwd or Path.cwd())
        self.process: BaseProcess = SERVER.Process(
            target=_be_the_command, args=(argv, whole, place, folder, limits or {})
        )
        self.process.start()

    def wait(self, timeout: float = 120) -> Finished:
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"still running after {timeout} s:\n{self.out.read_text()}{self.err.read_text()}")
        return Finished(self.process.exitcode, self.out.read_text(), self.err.read_text())


def orthogan(
    *words: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limits: Mapping[int, int] | None = None,
    timeout: float = 120,
) -> Finished:
    """Run `orthogan WORDS` to its end."""
    return Running(*words, env=env, cwd=cwd, limits=limits).wait(timeout)


def _be_the_command(argv: list[str], env: dict[str, str], place: str, folder: Path, limits: dict[int, int]) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(place)
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    is_script = argv[0].endswith(".py")
    sys.argv = argv if is_script else ["orthogan", *argv]
    import torch

    torch.set_num_threads(1)
    from orthogan.cli import main

    for limit, number in limits.items():
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        number += in_use if limit == resource.RLIMIT_AS else 0
        resource.setrlimit(limit, (number, number))
    try:
        if is_script:
            runpy.run_path(argv[0], run_name="__main__")
        status = 0 if is_script else main(argv)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
