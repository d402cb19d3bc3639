"""Hugging Face folders and parquet: image column, label column, splits."""

import json
import os
import pickle

import numpy as np
import pytest
from pictures import noise, png
from process import orthogan

from orthogan import optional
from orthogan.data import open_source
from orthogan.errors import UserError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CELLS = [{"bytes": png(noise(i)), "path": None} for i in range(6)]


def write(path, row_group_size=4, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def pixels(opened, index):
    with opened.read(index) as image:
        return np.asarray(image)


@pytest.fixture
def dataset():
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"id": datasets.Value("int64"), "img": datasets.Image(), "label": datasets.ClassLabel(names=["b", "a", "c"])}
    )
    columns = {"id": [9] * 6, "img": CELLS, "label": [0, 1, 0, 1, 1, 1]}
    return datasets.Dataset.from_dict(columns, features=features)


def test_parquet_of_bytes_and_whole_numbers(tmp_path):
    opened = open_source(str(write(tmp_path / "a.parquet", image=CELLS, label=[1, 0, 1, 0, 2, 1], id=[7] * 6)))
    assert opened.labels == [1, 0, 1, 0, 2, 1]
    assert opened.class_names == ["0", "1", "2"]
    for i in (5, 0, 3, 4):  # across row groups, out of order
        assert np.array_equal(pixels(opened, i), noise(i))
    assert np.array_equal(pixels(pickle.loads(pickle.dumps(opened)), 5), noise(5))
    assert open_source(opened.spec, unconditional=True).labels is None


def test_plain_bytes_words_and_no_labels(tmp_path):
    cells = [cell["bytes"] for cell in CELLS]
    words = open_source(str(write(tmp_path / "a.parquet", picture=cells, label=list("bababa"))))
    assert (words.class_names, words.labels) == (["a", "b"], [1, 0, 1, 0, 1, 0])
    assert open_source(str(write(tmp_path / "b.parquet", picture=cells, id=[1] * 6))).labels is None


def test_class_names_of_a_parquet_that_datasets_wrote(tmp_path, dataset):
    dataset.to_parquet(str(tmp_path / "a.parquet"))
    opened = open_source(str(tmp_path / "a.parquet"))
    assert opened.class_names == ["b", "a", "c"]
    assert opened.labels == [0, 1, 0, 1, 1, 1]
    assert np.array_equal(pixels(opened, 3), noise(3))


def test_a_folder_of_parquet_is_read_in_order_and_only_train(tmp_path):
    root = tmp_path / "hub"
    write(root / "data" / "train-00001-of-00002.parquet", image=CELLS[3:], label=[1, 1, 1])
    write(root / "data" / "train-00000-of-00002.parquet", image=CELLS[:3], label=[0, 0, 0])
    write(root / "data" / "test-00000-of-00001.parquet", image=CELLS[:1], label=[0])
    opened = open_source(str(root))
    assert opened.labels == [0, 0, 0, 1, 1, 1]
    assert opened.ignored == ["data/test-00000-of-00001.parquet"]
    assert all(np.array_equal(pixels(opened, i), noise(i)) for i in range(6))
    before = opened.fingerprint()
    write(root / "data" / "train-00001-of-00002.parquet", image=CELLS[2:], label=[1, 1, 1, 1])
    assert open_source(str(root)).fingerprint() != before


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"id": [1]}, r"0 image columns \(none\)"),
        ({"front": CELLS[:1], "back": CELLS[:1]}, "2 image columns"),
        ({"image": CELLS[:1], "label": [None]}, "some rows have no label"),
        ({"image": CELLS[:1], "label": [-1]}, "negative"),
        ({"image": pa.array([], pa.binary())}, "no rows"),
    ],
)
def test_tables_that_do_not_fit_say_why(tmp_path, columns, complaint):
    with pytest.raises(UserError, match=complaint):
        open_source(str(write(tmp_path / "a.parquet", **columns)))


def test_splits_without_train_must_be_chosen(tmp_path):
    for split in ("test", "validation"):
        write(tmp_path / "hub" / f"{split}.parquet", image=CELLS[:1])
    with pytest.raises(UserError, match="holds the splits test, validation and no train"):
        open_source(str(tmp_path / "hub"))
    assert len(open_source(str(tmp_path / "hub" / "test.parquet"))) == 1


def test_a_row_without_image_is_unreadable(tmp_path):
    opened = open_source(str(write(tmp_path / "a.parquet", image=[*CELLS[:1], {"bytes": None, "path": None}])))
    with pytest.raises(ValueError, match="no image"):
        opened.read(1)


def test_saved_dataset(tmp_path, dataset):
    dataset.select([5, 0, 2]).save_to_disk(str(tmp_path / "saved"))
    opened = open_source(str(tmp_path / "saved"))
    assert opened.class_names == ["b", "a", "c"]
    assert opened.labels == [1, 0, 0]
    assert np.array_equal(pixels(opened, 0), noise(5))
    assert np.array_equal(pixels(pickle.loads(pickle.dumps(opened)), 2), noise(2))
    assert opened.fingerprint() == open_source(str(tmp_path / "saved")).fingerprint()


def test_saved_dataset_of_several_splits(tmp_path, dataset):
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict(train=dataset, test=dataset.select([0])).save_to_disk(str(tmp_path / "saved"))
    assert len(open_source(str(tmp_path / "saved"))) == 6
    assert len(open_source(str(tmp_path / "saved" / "test"))) == 1


def test_a_missing_extra_names_the_line_that_installs_it(tmp_path, monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named {name!r}")

    path = write(tmp_path / "a.parquet", image=CELLS)
    monkeypatch.setattr(optional.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"pip install 'orthogan\[hf\]'"):
        open_source(str(path))
    with pytest.raises(UserError, match=r"pip install 'orthogan\[digits\]'"):
        open_source("digits")


# Made to break the reader


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("outside", ["absolute", "../secret.png", "a/../../secret.png", "link/secret.png", "link.png"])
def test_a_cell_names_no_picture_outside_of_the_data(tmp_path, picture, outside):
    secret = picture(tmp_path / "secret.png")
    picture(tmp_path / "in" / "inside.png", seed=3)
    (tmp_path / "in" / "a").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    (tmp_path / "in" / "link.png").symlink_to(secret)
    name = str(secret) if outside == "absolute" else outside
    cells = [{"bytes": None, "path": "inside.png"}, {"bytes": None, "path": name}]
    opened = open_source(str(write(tmp_path / "in" / "a.parquet", image=cells)))
    assert np.array_equal(pixels(opened, 0), noise(3))
    with pytest.raises(ValueError, match=r"not inside"):
        opened.read(1)


def test_the_command_refuses_such_a_cell(tmp_path, picture):
    secret = picture(tmp_path / "secret.png")
    cells = [*CELLS, {"bytes": None, "path": str(secret)}]
    path = write(tmp_path / "in" / "a.parquet", image=cells)
    done = orthogan("data", "inspect", path, "--json", timeout=30)
    assert done.status == 1, done.err
    ((_, reason),) = json.loads(done.out)["unreadable"]
    assert "not inside" in reason


@pytest.mark.parametrize("note", [b"[", b"[1]", b'{"info": 3}', b'{"info": {"features": []}}', b"[" * 5000, b"\xff"])
def test_damaged_notes_of_datasets(tmp_path, note):
    table = pa.table({"image": CELLS, "label": [0] * 6}).replace_schema_metadata({"huggingface": note})
    pq.write_table(table, tmp_path / "a.parquet")
    assert "a.parquet" in refused(tmp_path / "a.parquet")


@pytest.mark.parametrize("at", [4, -4, -20, -200])
def test_damaged_parquet_names_the_file(tmp_path, at):
    for name in ("train-0", "train-1"):
        write(tmp_path / "hub" / f"{name}.parquet", image=CELLS, label=[0] * 6)
    path = tmp_path / "hub" / "train-1.parquet"
    data = bytearray(path.read_bytes())
    data[at : at + 3] = b"\xff\xff\xff"
    path.write_bytes(data[: len(data) // 2] if at == 4 else data)
    assert "train-1.parquet" in refused(tmp_path / "hub")


def test_a_pipe_called_parquet(tmp_path):
    write(tmp_path / "hub" / "train-0.parquet", image=CELLS)
    os.mkfifo(tmp_path / "hub" / "train-1.parquet")
    assert len(open_source(str(tmp_path / "hub"))) == 6


@pytest.mark.parametrize("labels", [[[1, 2]] * 6, [[1], [1, 2], [], [1], [1], [1]], [{"a": 1}] * 6])
def test_labels_that_are_lists(tmp_path, labels):
    assert "label" in refused(write(tmp_path / "a.parquet", image=CELLS, label=labels))


def note_of(names: list[str]) -> dict[str, str]:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def test_a_million_class_names(tmp_path):
    table = pa.table({"image": CELLS, "label": [0, 1, 2, 0, 1, 2]})
    pq.write_table(table.replace_schema_metadata(note_of([str(i) for i in range(10**6)])), tmp_path / "a.parquet")
    assert "1000000 class names but only 3 classes occur" in refused(tmp_path / "a.parquet")


def test_a_row_group_that_unpacks_to_more_than_is_read(tmp_path, monkeypatch):
    opened = open_source(str(write(tmp_path / "a.parquet", image=CELLS)))
    monkeypatch.setattr("orthogan.data.tables.MAX_GROUP_BYTES", 100)
    with pytest.raises(ValueError, match="row group 0 holds"):
        opened.read(0)


def test_more_rows_than_names_fit_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("orthogan.data.tables.MAX_IMAGES", 5)
    assert "6 rows, more than the 5" in refused(write(tmp_path / "a.parquet", image=CELLS))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", "{"),
        ("state.json", "[" * 5000),
        ("state.json", "{}"),
        ("state.json", '{"_data_files": 3}'),
        ("state.json", '{"_data_files": [{"filename": "../other.arrow"}]}'),
        ("dataset_info.json", "{"),
        ("dataset_info.json", '{"features": {"img": {"_type": "NoSuch"}}}'),
        ("data-00000-of-00001.arrow", "x"),
    ],
)
def test_damaged_saved_datasets(tmp_path, dataset, name, content):
    dataset.save_to_disk(str(tmp_path / "saved"))
    dataset.to_csv(str(tmp_path / "other.arrow"))
    (tmp_path / "saved" / name).write_text(content)
    assert "saved" in refused(tmp_path / "saved")


def test_a_saved_dataset_of_a_pipe(tmp_path, dataset):
    dataset.save_to_disk(str(tmp_path / "saved"))
    arrow = tmp_path / "saved" / "data-00000-of-00001.arrow"
    arrow.unlink()
    os.mkfifo(arrow)
    assert "not a regular file" in refused(tmp_path / "saved")
