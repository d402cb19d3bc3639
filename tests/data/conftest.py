import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from pictures import noise
from PIL import Image


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the cache of another, or the user's."""
    home = tmp_path / "cache-home"
    monkeypatch.setenv("ORTHOGAN_CACHE", str(home))
    return home / "data"


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A while in which no file can be removed, as on a disk that is mounted for reading only."""

    @contextmanager
    def lasting() -> Iterator[None]:
        def refuse(place: object, **_: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(place))

        with monkeypatch.context() as patched:
            for call in ("unlink", "rmdir"):
                patched.setattr(os, call, refuse)
            yield

    return lasting


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Write a picture whose pixels follow from its seed; folders are made."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (16, 16)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(seed, size)).save(path)
        return path

    return write


@pytest.fixture
def classes(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """A folder of two classes: 3 cats and 2 dogs, each picture another."""
    root = tmp_path / "pets"
    for i in range(3):
        picture(root / "cat" / f"{i}.png", seed=i)
    for i in range(2):
        picture(root / "dog" / f"{i}.png", seed=10 + i)
    return root
