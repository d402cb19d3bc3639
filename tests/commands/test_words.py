"""Words that a command does not take: one line, status 2, and what to write instead. Help into a closed pipe."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tyro
from process import orthogan

from orthogan.cli import COMMANDS, main
from orthogan.reports import command, console, quoted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["train", "digits", "--network.widht", "3"],
            "--network.widht; did you mean --generator.width?",
        ),
        (["train", "digits", "--g-lr", "3"], "did you mean --optimizer.g-lr?"),
        (["train", "digits", "--images", "abc"], "--images: must be a whole number, not 'abc'"),
        (["train", "digits", "--precision", "bf17"], "did you mean 'bf16'?"),
        (["train", "digits", "pictures/"], "write --data pictures/"),
        (["train", "digits", "my pictures/"], "write --data 'my pictures/'"),
        (["train", "digits", "--epochs", "3"], "--images N"),
        (["train", "digits", "--batch_size", "3"], "--batch N"),
        (["train", "digits", "--lr", "3"], "--optimizer.g-lr X"),
        (["train", "digits", "--batch", "-3"], "batch=-3: must be positive"),
        (["sample"], "`orthogan sample` needs RUN_OR_FILE"),
        (["sample", "x", "y"], "unexpected word 'y'"),
        (["sample", "x", "--num", "3"], "-n N"),
        (["sample", "x", "--seed"], "--seed: needs a value"),
        (["sample", "x", "--truncation", "a"], "--truncation: must be a number, not 'a'"),
        (["sample", "x", "--lay", "grid"], "did you mean --layout?"),
        (["sheet"], "classes, truncation"),
        (["sheet", "clases", "x"], "did you mean 'classes'?"),
        (["evaluate", "x"], "x is no run; give real images by --against DATA"),
        (["evaluate", "x", "--against", "y", "--sampels", "3"], "did you mean --samples?"),
        (["data"], "inspect, check, clear"),
        (["data", "inspct", "x"], "did you mean 'inspect'?"),
        (["data", "clear", "--dyr-run"], "did you mean --dry-run?"),
    ],
)
def test_a_word_that_does_not_fit_is_one_line_with_what_does(words: list[str], told: str, tmp_path: Path) -> None:
    error = orthogan(*words, cwd=tmp_path).error
    assert told in error
    assert "\n" not in error
    assert "│" not in error


def test_a_signal_while_words_are_read_is_no_refusal_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tyro, "cli", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as left:
        main(["sample", "run"])
    assert left.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "terminated\n"


@pytest.fixture
def closed_pipe() -> int:
    """The end to write into of a pipe that nobody reads, as `head` leaves it."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize(
    "words", [[], *([name] for name in COMMANDS), ["train", "digits"], ["sheet", "classes"], ["data", "inspect"]]
)
def test_help_into_a_closed_pipe_leaves_nothing_to_be_flushed(
    words: list[str], closed_pipe: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stdout = os.fdopen(closed_pipe, "w")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(console, "quiet", False)  # a broken pipe silences it
    with contextlib.suppress(SystemExit):
        assert main([*words, "--help"]) in (0, 1)
    stdout.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("words", [[], ["data", "inspect"]])
def test_help_into_a_closed_pipe_makes_no_noise(words: list[str], closed_pipe: int) -> None:
    """The interpreter flushes at its very end, so a fork does not show it."""
    run = [sys.executable, "-m", "orthogan", *words, "--help"]
    done = subprocess.run(run, stdout=closed_pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""


def without_torch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A PyTorch whose libraries are missing, before the real one on the path."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise ImportError('libtorch.so: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from orthogan.cli import main; sys.exit(main({words!r}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_doctor_runs_without_pytorch_and_says_so(tmp_path: Path) -> None:
    done = without_torch(tmp_path, "doctor")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "cannot be imported" in told
    assert "libtorch.so" in told
    assert "efficientnet-lite0" in told


def test_other_commands_without_pytorch_lead_to_doctor(tmp_path: Path) -> None:
    done = without_torch(tmp_path, "sample", "x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "libtorch.so" in done.stderr
    assert "`orthogan doctor`" in done.stderr
    assert "Traceback" not in done.stderr


def test_lines_to_paste_are_quoted_for_a_shell() -> None:
    assert quoted("my run") == "'my run'"
    told = command("sample", Path("it's mine"), "-n", 64)
    script = f'orthogan() {{ printf "%s\\n" "$@"; }}; {told}'
    read = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert read.stdout.splitlines() == ["sample", "it's mine", "-n", "64"]


SAYING = ("evaluate", "truncation", "memorization", "compare", "sample", "interpolate", "export", "import", "report")


@pytest.mark.parametrize("words", [*((name,) for name in SAYING), ("sheet", "classes"), ("sheet", "truncation")])
def test_every_option_says_what_happens_when_it_is_left_out(words: tuple[str, ...], tmp_path: Path) -> None:
    done = orthogan(*words, "--help", cwd=tmp_path, env={"COLUMNS": "100000"})
    assert done.status == 0
    assert "(default: )" not in done.out
    assert "(default: None)" not in done.out


@pytest.mark.parametrize("words", [("evaluate",), ("truncation",), ("sample",), ("study", "convergence")])
def test_help_of_an_option_is_one_paragraph(words: tuple[str, ...], tmp_path: Path) -> None:
    told = orthogan(*words, "--help", cwd=tmp_path, env={"COLUMNS": "100000"}).out
    helps = [line.strip("│ ") for line in told.splitlines() if line.startswith("│") and line.strip("│─ ")]
    assert len(helps) > 10
    assert [text for text in helps if not text.startswith("-") and not text.endswith((".", ")"))] == []
