"""A cache folder of the test's own, by its path."""

from pathlib import Path

import pytest


@pytest.fixture
def cache_folder(private_cache: None, tmp_path: Path) -> Path:
    return tmp_path / "cache"
