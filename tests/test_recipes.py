"""The page of recipes does what it says: its blocks run one after another, as a reader would run them."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from process import orthogan
from tiny import tiny_run

from orthogan import runs
from orthogan.training.trainer import Observer

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"


def test_every_block_of_the_page_runs(tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_run(arrays, images=32)
    assert runs.start(config, "digits", Path("runs/mine"), Observer(), torch.device("cpu"), lambda d, n: None).run()
    images = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    np.savez("others.npz", images=images, labels=np.arange(40) % 2)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) > 8
    for language, text in blocks:
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), names)
        else:
            for line in text.splitlines():
                done = orthogan(*shlex.split(line)[1:], cwd=tmp_path)
                assert done.status == 0, f"{line}\n{done.out}{done.err}"
    assert (tmp_path / "my-model" / "README.md").exists()
    assert len(list(tmp_path.glob("000*.png"))) == 40
