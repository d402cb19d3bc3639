"""The lines of singular values of a run, one that is killed and resumed too, and what the command makes of them."""

import csv
import json
from pathlib import Path

import pytest
import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.cli import main
from orthogan.errors import UserError
from orthogan.settings import override
from orthogan.stability import history
from orthogan.stability.history import Layer
from orthogan.stability.spectra import exact
from orthogan.training import checkpoint
from orthogan.training.estimate import estimate
from orthogan.training.trainer import Observer, Trainer

CPU = torch.device("cpu")


class Killed(BaseException):
    pass


class DiesAt(Observer):
    def __init__(self, images: int = 0):
        self.images = images

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        if images == self.images:
            raise Killed


def begin(folder: Path, source: Path, observer: Observer, **changes: object) -> Trainer:
    cadence = {"cadence.spectra_images": 32, "cadence.checkpoint_images": 48, "cadence.first_images": 0}
    config = override(tiny_run(source), {"images": 128, **cadence, **changes})
    return runs.start(config, "digits", folder, observer, CPU, lambda done, total: None)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "spectra.jsonl").read_text().splitlines()]


def test_a_resumed_run_writes_the_lines_of_the_uninterrupted_one(tmp_path: Path, arrays: Path) -> None:
    """Killed at 80 images: the line of 64 stands beyond the checkpoint of 48, and is written again."""
    whole = begin(tmp_path / "whole", arrays, Observer())
    assert whole.run()
    broken = begin(tmp_path / "broken", arrays, DiesAt(80))
    with pytest.raises(Killed):
        broken.run()
    assert [line["images"] for line in lines(tmp_path / "broken")] == [32, 64]
    broken._lock.release()  # type: ignore[union-attr]
    resumed = runs.resume(tmp_path / "broken", broken.config, Observer(), CPU, lambda done, total: None)
    assert resumed.images == 48
    assert resumed.run()
    found = lines(tmp_path / "whole")
    assert [line["images"] for line in found] == [32, 64, 96, 128]
    assert found == lines(tmp_path / "broken")
    for player, network in (("generator", whole.game.g.network), ("discriminator", whole.game.d.network)):
        assert found[-1][player].keys() == exact(network).keys()
        for name, values in exact(network).items():
            assert found[-1][player][name] == pytest.approx(values, rel=0.01), name


def test_the_clamp_resumes_exactly(tmp_path: Path, arrays: Path) -> None:
    clamps = {f"regularizers.{who}_clamp.strength": 1.0 for who in "gd"} | {"regularizers.d_lecam.strength": 0.1}
    for name, images in (("whole", 64), ("broken", 48)):
        assert begin(tmp_path / name, arrays, Observer(), images=images, **clamps).run()
    config = override(checkpoint.newest(tmp_path / "broken" / "checkpoints")[0].header.config, {"images": 64})
    assert runs.resume(tmp_path / "broken", config, Observer(), CPU, lambda done, total: None).run()
    ends = [checkpoint.newest(tmp_path / name / "checkpoints")[0].tensors for name in ("whole", "broken")]
    assert {name.split(".")[1] for name in ends[0] if name.startswith("rules.")} == {"g_clamp", "d_clamp", "d_lecam"}
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.parametrize("form", ["weights", "penalty"])
def test_what_the_rules_need_is_told_before(arrays: Path, form: str) -> None:
    """Their iteration runs on tensors without numbers too."""
    changes = {f"regularizers.{who}_clamp.{name}": v for who in "gd" for name, v in (("strength", 1.0), ("form", form))}
    config = override(tiny_run(arrays), {**changes, "regularizers.d_lecam.strength": 0.1})
    plain, found = (estimate(c, "float32", CPU) for c in (tiny_run(arrays), config))
    assert found.step_flops > plain.step_flops


def test_no_lines_where_the_cadence_is_0(tmp_path: Path, arrays: Path) -> None:
    begin(tmp_path / "run", arrays, Observer(), images=32, **{"cadence.spectra_images": 0}).run()
    assert not (tmp_path / "run" / "spectra.jsonl").exists()
    with pytest.raises(UserError, match=r"has no spectra.jsonl: a run writes it every --cadence.spectra-images"):
        history.read(tmp_path / "run")


def test_the_command_shows_a_run_and_a_checkpoint(
    tmp_path: Path, arrays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    trainer = begin(run, arrays, Observer(), images=64)
    trainer.run()
    assert main(["spectra", str(run)]) == 0
    assert "growth" in capsys.readouterr().out
    assert {path.suffix for path in run.glob("spectra.*")} == {".jsonl", ".png", ".svg", ".csv"}
    rows = list(csv.DictReader((run / "spectra.csv").open()))
    assert {row["images"] for row in rows} == {"32", "64"}
    wanted = exact(trainer.game.g.network)["linear"]
    assert main(["spectra", str(checkpoint.newest(run / "checkpoints")[0].path), "--out", str(out)]) == 0
    assert "discriminator at 64 images" in capsys.readouterr().out
    exactly = list(csv.DictReader((out / "spectra.csv").open()))
    assert len(exactly) * 2 == len(rows)
    (row,) = [row for row in exactly if (row["player"], row["layer"]) == ("generator", "linear")]
    assert [float(row[f"sigma_{i}"]) for i in range(3)] == wanted
    assert main(["spectra", str(tmp_path / "nothing")]) == 2


def test_growth_ratio_and_the_worst_by_hand() -> None:
    grown = Layer("generator", "grown", [1, 2], [[1.0, 1.0], [5.0, 4.0]])
    steep = Layer("generator", "steep", [1, 2], [[9.0, 1.0, 0.5], [9.0, 1.0, 0.5]])
    single = Layer("generator", "single", [1, 2], [[1.0], [2.0]])
    assert (grown.growth, grown.ratio, steep.ratio) == (5, 1.25, 9)
    assert steep.series(2) == [0.5, 0.5]
    assert [layer.name for layer in history.worst([single, steep, grown], 1)] == ["grown", "steep"]
    text = history.as_csv([single, steep]).splitlines()
    assert text[0] == "player,layer,images,sigma_0,sigma_1,sigma_2"
    assert text[1] == "generator,single,1,1.0,,"
    assert text[4] == "generator,steep,2,9.0,1.0,0.5"
