"""Rankings, and which differences are supported: against scipy's own tests and by hand."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import norm, ttest_ind

from orthogan.commands.compare import main
from orthogan.errors import UserError
from orthogan.judging import comparison
from orthogan.judging.comparison import INTERVALS, SEEDS, compare, holm

PROTOCOL: dict[str, Any] = {
    "features": {"network": "tiny", "weights_sha256": "0"},
    "real": {"images": 100, "fingerprint": "abc"},
    "generated": {"images": 100},
    "settings": {"seed": 0, "kernel_subsets": 1},
    "intervals": {"level": 0.95, "resamples": 1000},
}


def images(path: Path, value: float, half: float | None = 1.0, **changes: Any) -> Path:
    """A file of scores of images, their interval value +- half."""
    protocol = copy.deepcopy(PROTOCOL)
    protocol["generated"] |= {"source": path.stem, "fingerprint": path.stem}
    for key, entries in changes.items():
        protocol[key] = protocol.get(key, {}) | entries
    result: dict[str, Any] = {"scores": {"frechet_distance": value, "recall": value / 100}, "protocol": protocol}
    if half is not None:
        result["intervals"] = {"frechet_distance": [value - half, value + half]}
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(result))
    return path


def run(path: Path, setting: str, seed: int, value: float) -> Path:
    """A file of scores of a run."""
    model = {"settings": setting, "run_seed": seed, "images_seen": 10, "truncation": None, "weights_crc32": str(seed)}
    return images(path, value, generator=model)


def test_intervals_that_lie_apart_support_a_difference(tmp_path: Path) -> None:
    paths = [images(tmp_path / f"{name}.json", value) for name, value in (("c", 12.0), ("a", 10.0), ("b", 10.5))]
    found = compare(paths)
    assert [entry.name for entry in found.ranking] == ["a", "b", "c"]
    tested = {(d.better, d.worse): d for d in found.differences}
    error = 2**0.5 / norm.ppf(0.975)
    assert tested[0, 1].p == pytest.approx(2 * norm.sf(0.5 / error))
    assert tested[0, 2].p == pytest.approx(2 * norm.sf(2.0 / error))
    assert {pair for pair, d in tested.items() if d.holds} == {(0, 2)}  # p of b and c is 0.034, above 0.05 / 2
    assert {d.test for d in found.differences} == {INTERVALS}


def test_seeds_are_compared_by_welch_s_test(tmp_path: Path) -> None:
    values = {"slow": [30.0, 31.0, 33.0], "fast": [20.0, 24.0]}
    for setting, each in values.items():
        for seed, value in enumerate(each):
            run(tmp_path / f"{setting}{seed}" / "scores-x.json", setting, seed, value)
    found = compare([tmp_path])
    assert [len(entry.runs) for entry in found.ranking] == [2, 3]
    assert found.ranking[0].mean("frechet_distance") == 22
    (difference,) = found.differences
    assert difference.test == SEEDS
    assert difference.p == pytest.approx(ttest_ind(values["slow"], values["fast"], equal_var=False).pvalue)


def test_runs_that_began_from_other_networks_are_other_entries(tmp_path: Path) -> None:
    """Two fine-tunings of one configuration by two seeds each."""
    for parent, base in (("one", 10.0), ("two", 20.0)):
        for seed in (0, 1):
            path = run(tmp_path / f"{parent}{seed}" / "scores-x.json", "same", seed, base + seed)
            stored = json.loads(path.read_text())
            stored["protocol"]["generator"] |= {"parent": parent, "weights_crc32": f"{parent}{seed}"}
            path.write_text(json.dumps(stored))
    assert [entry.values("frechet_distance") for entry in compare([tmp_path]).ranking] == [[10, 11], [20, 21]]


def test_networks_of_one_seed_and_setting_that_are_not_the_same_are_not_averaged(tmp_path: Path) -> None:
    """As exported files are, which do not say what they began from."""
    for name, value in (("a", 10.0), ("b", 30.0)):
        path = run(tmp_path / name / "scores-x.json", "same", 0, value)
        stored = json.loads(path.read_text())
        stored["protocol"]["generator"]["weights_crc32"] = name
        path.write_text(json.dumps(stored))
    run(tmp_path / "c" / "scores-x.json", "same", 1, 20.0)
    found = compare([tmp_path])
    assert [entry.values("frechet_distance") for entry in found.ranking] == [[10], [20], [30]]
    assert len({entry.name for entry in found.ranking}) == 3


def test_samples_of_one_run_by_several_seeds_are_no_further_runs(tmp_path: Path) -> None:
    for seed in range(3):
        run(tmp_path / f"scores-{seed}.json", "one", 0, 10.0 + seed)
    found = comparison.entries(comparison.load([tmp_path]))
    assert [(entry.values("frechet_distance"), len(entry.runs[0])) for entry in found] == [([11.0], 3)]
    assert found[0].error("frechet_distance") == pytest.approx(1 / norm.ppf(0.975) / 3**0.5)


def test_a_higher_score_is_better_where_it_is(tmp_path: Path) -> None:
    paths = [images(tmp_path / f"{name}.json", value) for name, value in (("a", 10.0), ("b", 20.0))]
    assert [entry.name for entry in compare(paths, "recall").ranking] == ["b", "a"]


def test_without_intervals_nothing_is_tested(tmp_path: Path) -> None:
    (difference,) = compare([images(tmp_path / "a.json", 1, None), images(tmp_path / "b.json", 9)]).differences
    assert (difference.p, difference.holds) == (None, False)


def test_an_interval_without_width_is_none(tmp_path: Path) -> None:
    """As of a density of 0, in older files: it is not known exactly."""
    (difference,) = compare([images(tmp_path / "a.json", 0, 0.0), images(tmp_path / "b.json", 9)]).differences
    assert (difference.p, difference.holds) == (None, False)


def test_what_is_printed_beside_a_mean_is_what_is_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs at 20 and 24: t(0.975, 1) = 12.706 standard errors of 2, whatever their images' intervals."""
    for seed, value in enumerate((20.0, 24.0)):
        run(tmp_path / f"fast{seed}" / "scores-x.json", "fast", seed, value)
    images(tmp_path / "other" / "scores-y.json", 40.0)
    assert main([str(tmp_path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "22 ± 25 " in told
    assert "40 ± 1 " in told
    assert "±: of several runs Student's t-interval over the runs and of one run its images resampled" in told


def test_different_protocols_are_refused_with_what_differs(tmp_path: Path) -> None:
    a = images(tmp_path / "a.json", 1)
    b = images(tmp_path / "b.json", 2, features={"network": "other"}, real={"fingerprint": "xyz"})
    with pytest.raises(UserError, match=r"features\.network: 'tiny' and 'other'; real\.fingerprint: 'abc' and 'xyz'"):
        compare([a, b])
    images(tmp_path / "c.json", 2, settings={"seed": 5}, versions={"torch": "1"})  # of no consequence
    assert len(compare([a, tmp_path / "c.json"]).ranking) == 2


def test_accuracies_need_one_classifier(tmp_path: Path) -> None:
    paths = []
    for name in "ab":
        paths.append(images(tmp_path / f"{name}.json", 1, accuracy={"of_real": {"weights_sha256": name}}))
    with pytest.raises(UserError, match=r"accuracy\.of_real\.weights_sha256: 'a' and 'b'"):
        compare(paths, "conditional_accuracy")
    assert compare(paths).ranking


def test_holm_by_hand() -> None:
    # 0.01 <= 0.05 / 3, then 0.02 <= 0.05 / 2, then 0.06 > 0.05.
    assert holm([0.02, 0.06, None, 0.01]) == [True, False, False, True]
    # 0.04 > 0.05 / 2 stops all that come after, 0.045 too, which alone would be below 0.05.
    assert holm([0.04, 0.045]) == [False, False]
    assert holm([]) == []


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"", b"[]", b"{}", b'{"scores": 1}', b'{"scores": {}, "protocol": []}', b"null"]
)
def test_other_files_are_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json: not a file of scores"):
        compare([tmp_path / "x.json"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scores": {"frechet_distance": float("nan")}}, r"scores\.frechet_distance=nan: must be a finite number"),
        ({"scores": {"frechet_distance": 10**400}}, r"scores\.frechet_distance=10+: must be a finite number"),
        ({"scores": {"frechet_distance": "3"}}, r"scores\.frechet_distance='3': must be a finite number"),
        ({"scores": {"frechet_distance": True}}, r"scores\.frechet_distance=True: must be a finite number"),
        ({"intervals": {"frechet_distance": [1]}}, r"intervals\.frechet_distance=\[1\]: must be a pair"),
        ({"intervals": {"frechet_distance": None}}, r"intervals\.frechet_distance=None: must be a pair"),
        ({"intervals": {"frechet_distance": [3, 1]}}, r"intervals\.frechet_distance=\[3, 1\]: must be a pair"),
        ({"intervals": {"frechet_distance": [1, float("inf")]}}, r"intervals\.frechet_distance=\[1, inf\]: must be"),
        ({"intervals": None}, "intervals=None: must be a pair of numbers for each score"),
        ({"protocol": PROTOCOL | {"intervals": None}}, r"protocol\.intervals\.level=None: must be a number between"),
        ({"protocol": PROTOCOL | {"intervals": {"level": 95}}}, r"protocol\.intervals\.level=95: must be a number"),
    ],
)
def test_damaged_numbers_are_one_line_with_file_and_entry(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    good, damaged = images(tmp_path / "good.json", 1.0), images(tmp_path / "x.json", 2.0)
    damaged.write_text(json.dumps(json.loads(damaged.read_text()) | change))
    with pytest.raises(UserError, match=r"x\.json: " + told):
        compare([good, damaged])


def test_the_command_ranks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(images(tmp_path / f"{name}.json", value)) for name, value in (("b", 20), ("a", 10))]) == 0
    told = capsys.readouterr().out
    assert "Fréchet distance (tiny), lower is better" in told
    assert told.index(" a ") < told.index(" b ")
    assert "z-test over intervals" in told
    assert "0.1" in told  # recall of a, in the table of the other scores


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["a.json"], "only a has scores here"),
        (["a.json", "b.json", "--by", "recal"], "did you mean 'recall'"),
        (["a.json", "b.json", "--by", "precision"], "does not have it; it has frechet_distance, recall"),
        (["a.json", "b.json", "--by", "class_diversity"], "neither the lowest nor the highest"),
        ([], "nothing to compare"),
        (["none"], "no such file or folder"),
        (["empty"], r"no file scores\*\.json in it; `orthogan evaluate empty"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    argv: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "a.json", 10), images(tmp_path / "b.json", 20), (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        main(argv)


def test_of_runs_that_hold_several_protocols_the_shared_one_is_compared(tmp_path: Path) -> None:
    def scored(name: str, part: str, value: float) -> None:
        model = {"settings": name, "run_seed": 0}
        images(tmp_path / name / f"scores-{part}.json", value, generator=model, real={"fingerprint": part})

    scored("a", "held-out", 1.0)
    scored("b", "held-out", 2.0)
    scored("a", "training", 9.0)
    runs = [tmp_path / "a", tmp_path / "b"]
    assert [entry.mean("frechet_distance") for entry in compare(runs).ranking] == [1.0, 2.0]
    scored("b", "training", 8.0)
    with pytest.raises(UserError, match="hold scores by 2 protocols each; name files of one"):
        compare(runs)
