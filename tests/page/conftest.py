from pathlib import Path

import pytest
from pages import write_run


@pytest.fixture
def run(tmp_path: Path, arrays: Path) -> Path:
    return write_run(tmp_path / "runs" / "mine<b>", arrays)
