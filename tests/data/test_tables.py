"""Hugging Face folders and parquet: image column, label column, splits."""

import pickle

import numpy as np
import pytest
from pictures import noise, png

from orthogan.data import open_source, source
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
    monkeypatch.setattr(source.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"pip install 'orthogan\[hf\]'"):
        open_source(str(path))
    with pytest.raises(UserError, match=r"pip install 'orthogan\[digits\]'"):
        open_source("digits")
