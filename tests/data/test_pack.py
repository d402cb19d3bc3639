"""The cache: decoded once, never half, never stale."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pictures import flip_last_byte, noise, truncated_jpeg, zipped
from PIL import Image
from process import Running

from orthogan import data
from orthogan.data import open_source, pack
from orthogan.data.cache import list_packs, open_if_whole, packs_folder
from orthogan.data.config import DataConfig
from orthogan.data.decode import Policy, square
from orthogan.data.parallel import for_each_image
from orthogan.data.partial import OWNER, is_abandoned, partial_folder
from orthogan.errors import UserError


class Count:
    """A progress callback that remembers."""

    def __init__(self):
        self.calls = []

    def __call__(self, done, total):
        self.calls.append((done, total))


def config(root, **settings):
    return DataConfig(source=str(root), **settings)


def test_pack_holds_what_the_source_shows(classes):
    progress = Count()
    cache = pack(config(classes), 16, progress)
    assert cache.images.shape == (5, 16, 16, 3)
    assert cache.images.dtype == np.uint8
    assert isinstance(cache.images, np.memmap)
    assert not cache.images.flags.writeable
    for row, seed in enumerate((0, 1, 2, 10, 11)):
        assert np.array_equal(cache.images[row], noise(seed))
    assert cache.labels.tolist() == [0, 0, 0, 1, 1]
    assert cache.labels.dtype == np.int64
    assert (cache.n_classes, cache.class_names, cache.resolution, len(cache)) == (2, ["cat", "dog"], 16, 5)
    assert progress.calls[-1] == (5, 5)


def test_the_second_time_nothing_is_decoded(classes):
    first, progress = pack(config(classes), 16), Count()
    again = pack(config(classes), 16, progress)
    assert progress.calls == []
    assert again.path == first.path
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.images, first.images)


def test_without_classes(classes):
    cache = pack(config(classes, unconditional=True), 16)
    assert (cache.labels, cache.n_classes, len(cache)) == (None, 0, 5)


def test_every_setting_of_the_images_has_its_own_pack(classes):
    base = config(classes)
    variants = [
        (base, 16),
        (base, 24),
        (config(classes, crop="pad"), 16),
        (config(classes, resize="lanczos"), 16),
        (config(classes, background="black"), 16),
        (config(classes, unconditional=True), 16),
    ]
    assert len({pack(*variant).path for variant in variants}) == len(variants)
    # What only concerns batches, or what to do about bad files, does not.
    assert pack(config(classes, mirror=True, skip_bad=True), 16).path == pack(base, 16).path


def test_for_random_crops_squares_are_larger_by_as_much(classes):
    cache = pack(config(classes, random_crop=0.8), 16)
    assert cache.resolution == 20
    with open_source(str(classes)).read(0) as image:
        assert np.array_equal(cache.images[0], square(image, Policy(20)))
    with pytest.raises(UserError, match=r"data\.random_crop=0"):
        config(classes, random_crop=0)


def test_a_changed_source_is_noticed(classes, picture):
    before = pack(config(classes), 16)
    picture(classes / "cat" / "0.png", seed=77)
    after = pack(config(classes), 16)
    assert np.array_equal(after.images[0], noise(77))
    assert after.fingerprint != before.fingerprint


def test_fingerprint_is_of_pixels_and_labels_not_of_places(classes, tmp_path):
    original = pack(config(classes), 16)
    copy = tmp_path / "elsewhere"
    shutil.copytree(classes, copy, copy_function=shutil.copyfile)
    archive = zipped(classes, tmp_path / "pets.zip")
    assert pack(config(copy), 16).fingerprint == original.fingerprint
    assert pack(config(archive), 16).fingerprint == original.fingerprint
    assert pack(config(copy), 16).path != original.path
    assert pack(config(classes, unconditional=True), 16).fingerprint != original.fingerprint
    assert pack(config(classes), 24).fingerprint != original.fingerprint


# Torn packs


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"cat"', b'"cow"'))


def reshape(path: Path) -> None:
    array = np.load(path)
    np.save(path, array.reshape(*array.shape, 1))


def retype(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("images.npy", cut),
        ("images.npy", Path.unlink),
        ("images.npy", flip_last_byte),
        ("images.npy", reshape),
        ("labels.npy", reshape),
        ("labels.npy", retype),
        ("sums.npy", Path.unlink),
        ("sums.npy", flip_last_byte),
        ("labels.npy", cut),
        ("labels.npy", Path.unlink),
        ("labels.npy", flip_last_byte),
        ("meta.json", cut),
        ("meta.json", alter),
        ("meta.json", Path.unlink),
    ],
)
def test_a_torn_pack_is_noticed_and_built_again(classes, cache_home, name, harm):
    home = pack(config(classes), 16).path
    harm(home / name)
    assert open_if_whole(home) is None
    progress = Count()
    with pytest.warns(UserWarning, match=rf"{home.name} is torn \(.*{name}"):
        cache = pack(config(classes), 16, progress)
    assert progress.calls
    assert np.array_equal(cache.images[4], noise(11))
    assert [path.name for path in cache_home.iterdir()] == [home.name]


def test_a_file_too_long_is_torn_too(classes):
    home = pack(config(classes), 16).path
    with (home / "images.npy").open("ab") as file:
        file.write(b"x")
    assert open_if_whole(home) is None


def test_a_flipped_bit_of_a_large_pack_is_noticed_when_its_image_is_first_used(classes, monkeypatch):
    monkeypatch.setattr("orthogan.data.cache.VERIFIED_WHOLE_BYTES", 0)
    home = pack(config(classes), 16).path
    flip_last_byte(home / "images.npy")
    cache = pack(config(classes), 16)
    assert np.array_equal(cache.checked[np.array([0, 3])], np.stack([noise(0), noise(10)]))
    with pytest.raises(UserError, match=rf"{home}/images\.npy is damaged: image 4 of {classes} .*run the same again"):
        cache.checked[np.array([3, 4])]
    with pytest.raises(UserError, match="image 4"):
        data.BatchStream(cache, 0, mirror=False).batch(0, 5)
    progress = Count()
    with pytest.warns(UserWarning, match="is torn"):
        again = pack(config(classes), 16, progress)
    assert progress.calls
    assert np.array_equal(again.checked[np.array([4])][0], noise(11))


def test_in_a_cache_that_may_only_be_read_damage_says_what_to_set(classes, monkeypatch, read_only):
    monkeypatch.setattr("orthogan.data.cache.VERIFIED_WHOLE_BYTES", 0)
    cache = pack(config(classes), 16)
    flip_last_byte(cache.path / "images.npy")
    with read_only(), pytest.raises(UserError, match=r"cannot be set aside \(Read-only .*set ORTHOGAN_CACHE"):
        cache.checked[np.array([4])]
    assert open_if_whole(cache.path) is not None


# Unreadable images


@pytest.fixture
def broken(classes):
    """Three unreadable files, each in its own way, among five good ones."""
    truncated_jpeg(classes / "cat" / "half.jpg")
    (classes / "dog" / "0bytes.png").write_bytes(b"")
    (classes / "dog" / "text.png").write_text("not an image")
    return classes


def test_all_unreadable_images_are_listed_at_once_and_nothing_is_left(broken, cache_home):
    with pytest.raises(UserError) as caught:
        pack(config(broken), 16)
    text = str(caught.value)
    assert "3 of 8 images cannot be read" in text
    for name, reason in (("cat/half.jpg", "truncated"), ("dog/0bytes.png", "empty"), ("dog/text.png", "identify")):
        assert any(line.strip().startswith(f"{name}: ") and reason in line for line in text.splitlines()), name
    assert "--data.skip-bad" in text
    assert list(cache_home.iterdir()) == []


def test_skip_bad_leaves_them_out(broken):
    cache = pack(config(broken, skip_bad=True), 16)
    assert len(cache) == 5
    assert cache.labels.tolist() == [0, 0, 0, 1, 1]
    for row, seed in enumerate((0, 1, 2, 10, 11)):
        assert np.array_equal(cache.images[row], noise(seed))
    assert [name for name, _ in cache.skipped] == ["cat/half.jpg", "dog/0bytes.png", "dog/text.png"]
    assert sorted(path.name for path in cache.path.iterdir()) == ["images.npy", "labels.npy", "meta.json", "sums.npy"]


def test_a_pack_with_skipped_images_does_not_serve_who_did_not_ask(broken):
    pack(config(broken, skip_bad=True), 16)
    progress = Count()
    with pytest.raises(UserError, match="3 of 8 images cannot be read"):
        pack(config(broken), 16, progress)
    assert progress.calls == []


def test_nothing_readable_is_an_error_even_with_skip_bad(tmp_path):
    truncated_jpeg(tmp_path / "in" / "a.jpg")
    with pytest.raises(UserError, match="1 of 1 images cannot be read") as caught:
        pack(config(tmp_path / "in", skip_bad=True), 16)
    assert "skip-bad" not in str(caught.value)


def test_a_long_list_is_cut_with_a_count(tmp_path, picture):
    picture(tmp_path / "in" / "good.png")
    for i in range(73):
        (tmp_path / "in" / f"bad{i:02d}.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        pack(config(tmp_path / "in"), 16)
    text = str(caught.value)
    assert "73 of 74" in text
    assert text.count(".png: ") == 50
    assert "and 23 more" in text


def test_damage_inside_a_zip_is_found(classes, tmp_path):
    archive = zipped(classes, tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    data[data.index((classes / "dog" / "1.png").read_bytes()) + 60] ^= 255
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"1 of 5 images cannot be read\n  dog/1\.png: .*CRC"):
        pack(config(archive), 16)


# Several processes


def test_processes_give_what_one_gives(tmp_path, picture):
    for i in range(130):
        picture(tmp_path / "in" / f"{i:03d}.png", seed=i, size=(20, 17))
    (tmp_path / "in" / "100x.png").write_bytes(b"")
    settings, progress = config(tmp_path / "in", skip_bad=True), Count()
    together = pack(settings, 16, progress, workers=2)
    images = np.array(together.images)
    assert [total for _, total in progress.calls] == [131] * 3
    assert [done for done, _ in progress.calls] == sorted(done for done, _ in progress.calls)
    shutil.rmtree(packs_folder())
    alone = pack(settings, 16, workers=1)
    assert np.array_equal(images, alone.images)
    assert together.fingerprint == alone.fingerprint
    assert together.skipped == alone.skipped


class DieInChildren:
    """Work that no other process survives."""

    def __init__(self):
        self.parent = os.getpid()

    def __call__(self, source, index):
        if os.getpid() != self.parent:
            os._exit(1)
        return index


def test_when_processes_cannot_run_one_goes_on(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.warns(UserWarning, match="going on in one process"):
        assert for_each_image(open_source(str(tmp_path / "a.npy")), DieInChildren(), workers=2) == [0, 1, 2]


KILLED = """
import os, signal, sys
from orthogan.data.config import DataConfig
from orthogan.data import pack

def die(done, total):
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    pack(DataConfig(source=sys.argv[1]), 16, die, workers=2)
"""


def test_decoding_processes_end_with_a_killed_parent(tmp_path, picture):
    for i in range(130):
        picture(tmp_path / "in" / f"{i:03d}.png", seed=i)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    # The pipe ends when the last process that holds it does: this would time out with processes left over.
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "in")], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(pack(config(tmp_path / "in"), 16)) == 130


def test_decoding_processes_need_no_pytorch():
    code = "import sys, orthogan.data.pack, orthogan.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def pack_when_told(settings, start, found):
    start.wait()
    cache = pack(settings, 64)
    found.put((str(cache.path), cache.fingerprint, int(cache.images.sum())))


def test_two_packers_of_one_key_do_no_harm(tmp_path, picture, cache_home):
    for i in range(40):
        picture(tmp_path / "in" / f"{i}.png", seed=i, size=(90, 90))
    context = multiprocessing.get_context("spawn")
    start, found = context.Event(), context.Queue()
    packers = [context.Process(target=pack_when_told, args=(config(tmp_path / "in"), start, found)) for _ in range(3)]
    for packer in packers:
        packer.start()
    start.set()
    results = [found.get(timeout=30) for _ in packers]
    for packer in packers:
        packer.join()
    assert len(set(results)) == 1
    assert [str(path) for path in cache_home.iterdir()] == [results[0][0]]


def test_a_pack_that_appears_meanwhile_is_used(classes, cache_home):
    other = None

    def another_packer(done, total):
        nonlocal other
        if other is None:
            other = "under way"
            other = pack(config(classes), 16)

    cache = pack(config(classes), 16, another_packer)
    assert cache.path == other.path
    assert os.path.samefile(cache.path / "images.npy", other.images.filename)
    assert [path.name for path in cache_home.iterdir()] == [cache.path.name]


def test_a_torn_pack_that_appears_meanwhile_is_replaced(classes, cache_home):
    calls = []

    def another_packer(done, total):
        calls.append(done)
        if len(calls) == 1:
            cut(pack(config(classes), 16).path / "images.npy")

    cache = pack(config(classes), 16, another_packer)
    assert np.array_equal(cache.images[0], noise(0))
    assert len(list(cache_home.iterdir())) == 1


def test_an_interrupted_packer_leaves_nothing(classes, cache_home):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(config(classes), 16, interrupt)
    assert list(cache_home.iterdir()) == []


# The folder


def test_a_full_disk_is_told_before_decoding(classes, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match=r"0\.0 MiB are free; set ORTHOGAN_CACHE"):
        pack(config(classes), 16)


LIMITED = """
import errno, os, resource, sys
from orthogan import cli
from orthogan.data.config import DataConfig
from orthogan.data import pack, rows

def full(self, index, row):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

if sys.argv[2] == "late":  # where the system cannot reserve, or breaks its word
    rows.RowWriter.write = full
else:
    # No file may then grow as large as the array; a full disk refuses the same calls.
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

class Command:
    @staticmethod
    def main(argv):
        pack(DataConfig(source=argv[0]), 64, workers=int(argv[1]))

if __name__ == "__main__":
    cli.importlib.import_module = lambda name: Command
    sys.exit(cli.main(["train", sys.argv[1], sys.argv[3]]))
"""


@pytest.mark.parametrize(("when", "workers"), [("reserving", 1), ("late", 1), ("late", 2)])
def test_a_disk_that_takes_no_more_is_one_line(classes, tmp_path, cache_home, when, workers):
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    words = [sys.executable, str(script), str(classes), when, str(workers)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: the packed images cannot be written to {cache_home} (")
    assert "set ORTHOGAN_CACHE" in line
    assert list(cache_home.iterdir()) == []


def test_space_is_reserved_before_decoding(classes, cache_home):
    def blocks(done, total):
        (array,) = cache_home.glob("*/images.npy")
        assert array.stat().st_blocks * 512 >= 5 * 512 * 512 * 3

    pack(config(classes), 512, blocks)


def test_what_a_killed_packer_left_is_cleared_at_once_and_what_is_written_stays(classes, tmp_path, cache_home):
    script = tmp_path / "killed.py"
    script.write_text(KILLED.replace("workers=2", "workers=1"))
    done = subprocess.run([sys.executable, str(script), str(classes)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    (dead,) = cache_home.iterdir()
    assert is_abandoned(dead)
    assert [info.path for info in list_packs()] == [dead]
    with partial_folder(cache_home / "other") as alive:
        assert not is_abandoned(alive)
        kept = pack(config(classes), 16).path.name
        assert {path.name for path in cache_home.iterdir()} == {alive.name, kept}
        assert [info.path.name for info in list_packs()] == [kept]
    assert [path.name for path in cache_home.iterdir()] == [kept]


def test_of_another_machine_s_packing_only_long_silence_tells(cache_home):
    for name, age in (("dead", 86400), ("perhaps", 60)):
        folder = cache_home / f"{name}.partial-another0-1"
        folder.mkdir(parents=True)
        (folder / OWNER).touch()
        (folder / "images.npy").write_bytes(b"x")
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - age,) * 2)
    assert is_abandoned(cache_home / "dead.partial-another0-1")
    assert not is_abandoned(cache_home / "perhaps.partial-another0-1")


@pytest.fixture
def slow(tmp_path):
    """A source that takes tens of seconds: links to one picture of 64 megapixels."""
    root = tmp_path / "slow"
    root.mkdir()
    Image.new("L", (8192, 8192)).save(root / "0.png")
    for i in range(1, 60):
        (root / f"{i}.png").symlink_to(root / "0.png")
    return root


@pytest.mark.parametrize(
    "words", [["train", "digits", "--out", "run", "--data"], ["evaluate", "slow", "--resolution", "32", "--against"]]
)
def test_sigterm_while_packing_clears_up(slow, tmp_path, cache_home, words):
    running = Running(*words, slow, cwd=tmp_path)
    until(lambda: list(cache_home.glob("*.partial-*/images.npy")), running)
    os.kill(running.process.pid, signal.SIGTERM)
    done = running.wait(20)
    assert done.status == 128 + signal.SIGTERM, done.err
    assert "Traceback" not in done.err
    assert list(cache_home.iterdir()) == []
    assert not (tmp_path / "run").exists()


def test_sigterm_ends_an_inspection(slow):
    running = Running("data", "inspect", slow)
    time.sleep(0.5)
    os.kill(running.process.pid, signal.SIGTERM)
    done = running.wait(20)
    assert (done.status, done.err.strip()) == (143, "terminated")


def until(happened, running, seconds=30):
    end = time.monotonic() + seconds
    while not happened():
        assert running.process.is_alive(), running.err.read_text()
        assert time.monotonic() < end
        time.sleep(0.02)


STOPPED = """
import sys, time
from orthogan.data import open_source
from orthogan.data.parallel import for_each_image

class Slow:
    def __call__(self, source, index):
        time.sleep(0.02)
        with open(sys.argv[2], "a") as file:
            file.write("x")

if __name__ == "__main__":
    def stop(done, total):
        raise KeyboardInterrupt

    try:
        for_each_image(open_source(sys.argv[1]), Slow(), stop, workers=2)
    except KeyboardInterrupt:
        print(len(open(sys.argv[2]).read()))
"""


def test_a_stopped_packing_does_not_wait_for_the_images_that_were_handed_out(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((256, 8, 8, 3), np.uint8))
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    words = [sys.executable, str(script), str(tmp_path / "a.npy"), str(tmp_path / "done")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert 64 <= int(done.stdout) <= 3 * 64, "the fourth chunk was handed out when the first was done"


def test_where_the_cache_lies(monkeypatch, tmp_path):
    assert packs_folder() == tmp_path / "cache-home" / "data"
    monkeypatch.delenv("ORTHOGAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert packs_folder() == tmp_path / "xdg" / "orthogan" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert packs_folder() == tmp_path / "home" / ".cache" / "orthogan" / "data"


def test_somebodys_own_pictures(tmp_path):
    """Several sizes and modes in one folder, packed as each alone would be."""
    root = tmp_path / "own"
    root.mkdir()
    Image.fromarray(noise(1, (40, 25))).save(root / "a.jpg")
    Image.fromarray(noise(2, (30, 30))[..., 0]).save(root / "b.png")
    Image.fromarray(noise(3, (9, 50))).convert("P").save(root / "c.gif")
    Image.fromarray(noise(4, (33, 33))).convert("CMYK").save(root / "d.tif")
    Image.new("RGBA", (50, 20), (0, 0, 255, 100)).save(root / "e.webp")
    cache = pack(config(root, background="#102030"), 48)
    policy = Policy(48, background=(16, 32, 48))
    for row, path in enumerate(sorted(root.iterdir())):
        with Image.open(path) as image:
            assert np.array_equal(cache.images[row], square(image, policy))


STARTING = """
import os, signal, sys, threading, time
from orthogan.cli import main

if __name__ == "__main__":
    # As a terminal or a scheduler does it: the whole group, while the decoding processes start.
    timer = threading.Timer(float(sys.argv[2]), lambda: os.killpg(0, int(sys.argv[3])))
    timer.daemon = True
    timer.start()
    sys.exit(main(["data", "inspect", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_decoding_processes_start_leaves_no_traceback(tmp_path, number):
    for i in range(600):
        Image.fromarray(noise(i, (8, 8))).save(tmp_path / f"{i}.png")
    script = tmp_path / "starting.py"
    script.write_text(STARTING)
    for seconds in ("0.6", "0.9"):
        words = [sys.executable, str(script), str(tmp_path), seconds, str(int(number))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, start_new_session=True)
        assert "Traceback" not in done.stderr, done.stderr[-2000:]
