"""Stop and rollback on alarms, and that runs which are killed around them end with the bits of those which are not."""

import copy
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.cli import main
from orthogan.commands import stopped
from orthogan.errors import UserError
from orthogan.settings import override
from orthogan.stability import history
from orthogan.stability import watch as rules
from orthogan.training import checkpoint, duties, saving
from orthogan.training import watch as duty
from orthogan.training.logs import read_config
from orthogan.training.observer import Observer
from orthogan.training.player import NonFiniteError
from orthogan.training.trainer import Trainer
from orthogan.training.watch import Collapsed

CPU = torch.device("cpu")
ONSET = 96
"""Images from which on the first attempt draws one image for all latents; the looks of 96, 112 and 128 see it."""


class Killed(BaseException):
    pass


class DiesAt(Observer):
    """At the step that ends at so many images of an attempt, or when something is told."""

    def __init__(self, moment: tuple[int, int] | None = None, words: str | None = None):
        self.moment, self.words = moment, words
        self.trainer: Trainer | None = None
        self.lines: list[str] = []
        self.alarms: list[str] = []

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        if self.trainer is not None and (self.trainer.feed.attempt, images) == self.moment:
            raise Killed

    def told(self, text: str) -> None:
        self.lines.append(text)
        if self.words is not None and self.words in text:
            self.words = None
            raise Killed

    def alarmed(self, text: str) -> None:
        self.alarms.append(text)


@pytest.fixture(autouse=True)
def look_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duty, "LEAST_STEPS", 1)
    monkeypatch.setattr(rules, "WARM_UP", 2)


def collapse(trainer: Trainer) -> Trainer:
    """The first attempt collapses."""
    network = trainer.game.g.network

    def hook(module: Any, inputs: Any, out: torch.Tensor) -> torch.Tensor:
        broken = trainer.feed.attempt == 0 and trainer.images >= ONSET
        return 0 * out + 0.3 if broken else out

    network.register_forward_hook(hook)
    return trainer


def begin(folder: Path, source: Path, observer: DiesAt, **changes: object) -> Trainer:
    settings = {
        "watch.every_images": 16,
        "cadence.checkpoint_images": 32,
        "cadence.first_images": 0,
        "cadence.log_images": 16,
        "cadence.spectra_images": 0,
        "images": 192,
        **changes,
    }
    config = override(tiny_run(source), settings)
    trainer = runs.start(config, "digits", folder, observer, CPU, lambda done, total: None)
    observer.trainer = trainer
    return collapse(trainer)


def go_on(folder: Path, observer: DiesAt) -> Trainer:
    trainer = runs.resume(folder, read_config(folder), observer, CPU, lambda done, total: None)
    observer.trainer = trainer
    return collapse(trainer)


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


ROLLBACK = {"watch.on_collapse": "rollback", "watch.change": "lower-rates"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Runs that are not killed, by what a rollback changes, each with its data; made when they are first asked for."""
    return {}


def same_run(a: Path, b: Path) -> None:
    one, other = (checkpoint.newest(run / "checkpoints")[0] for run in (a, b))
    assert one.path.name == other.path.name
    assert [name for name, tensor in one.tensors.items() if not torch.equal(tensor, other.tensors[name])] == []
    assert one.header.extra == other.header.extra
    for name in ("log.jsonl", "watch.jsonl", "alarms.jsonl", "status.json"):
        assert (a / name).read_text() == (b / name).read_text(), name
    names = [sorted(path.name for path in (run / "checkpoints").glob("*.safetensors")) for run in (a, b)]
    assert names[0] == names[1]


def test_a_run_returns_to_before_the_first_sign_and_goes_on_at_half_the_rates(tmp_path: Path, arrays: Path) -> None:
    observer = DiesAt()
    trainer = begin(tmp_path / "run", arrays, observer, **ROLLBACK)
    rates = [player.optimizer.param_groups[0]["lr"] for player in (trainer.game.g, trainer.game.d)]
    assert trainer.run()
    found = status(tmp_path / "run")
    assert (found["state"], found["attempt"], trainer.feed.attempt) == ("finished", 1, 1)
    (alarm,), (record,) = found["alarms"], found["rollbacks"]
    # The looks of 96, 112 and 128 have the sign; the newest checkpoint at or below the look of 80 is that of 64.
    assert (alarm["images"], alarm["since"], alarm["before"], alarm["signs"][0]["signal"]) == (128, 96, 80, "diversity")
    assert record == {
        "from": 128, "to": 64, "attempt": 1, "change": "lower-rates", "rate_factor": 0.5, "r1_gamma": None
    }  # fmt: skip
    assert "all alike" in observer.alarms[0]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [(line.get("attempt", 0), line["images"]) for line in lines] == [
        *((0, images) for images in range(16, 129, 16)),
        *((1, images) for images in range(80, 193, 16)),
    ]
    assert [player.optimizer.param_groups[0]["lr"] for player in (trainer.game.g, trainer.game.d)] == [
        rate / 2 for rate in rates
    ]


MOMENTS = {
    "before the first sign": DiesAt((0, 80)),
    "between sign and alarm": DiesAt((0, 128)),
    "when the alarm is told": DiesAt(),
    "before the new checkpoint": DiesAt(),
    "after the new checkpoint": DiesAt(),
    "when the return is told": DiesAt(words="rolled back"),
    "in the second attempt": DiesAt((1, 112)),
    "beyond the alarm": DiesAt((1, 160)),
}


@pytest.mark.parametrize(
    ("moment", "change"), [*((moment, "lower-rates") for moment in MOMENTS), ("in the second attempt", "r1")]
)
def test_a_run_that_is_killed_ends_with_the_bits_of_one_that_is_not(
    moment: str, change: str, whole: dict[str, Any], tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**ROLLBACK, "watch.change": change}
    if change not in whole:
        whole[change] = tmp_path / "whole", arrays
        begin(tmp_path / "whole", arrays, DiesAt(), **settings).run()
    reference, source = whole[change]
    folder, observer = tmp_path / "killed", copy.copy(MOMENTS[moment])
    trainer = begin(folder, source, observer, **settings)
    if moment == "when the alarm is told":
        observer.alarmed = die  # type: ignore[method-assign]
    if moment == "before the new checkpoint":
        save = saving.save
        monkeypatch.setattr(saving, "save", lambda run: die() if run.feed.attempt else save(run))
    if moment == "after the new checkpoint":
        prune = checkpoint.prune
        monkeypatch.setattr(checkpoint, "prune", lambda *a, **k: die() if trainer.feed.attempt else prune(*a, **k))
    with pytest.raises(Killed):
        trainer.run()
    monkeypatch.undo()
    monkeypatch.setattr(duty, "LEAST_STEPS", 1)
    monkeypatch.setattr(rules, "WARM_UP", 2)
    trainer._lock.release()  # type: ignore[union-attr]
    assert go_on(folder, DiesAt()).run()
    same_run(reference, folder)


def die(*args: object) -> Any:
    raise Killed


def test_stop_saves_and_offers_a_command_that_works(tmp_path: Path, arrays: Path) -> None:
    folder = tmp_path / "run"
    trainer = begin(folder, arrays, DiesAt(), **{"watch.on_collapse": "stop", "cadence.keep_last": 1})
    with pytest.raises(Collapsed) as caught:
        trainer.run()
    assert status(folder)["state"] == "collapsed"
    # The last one is where it stopped; that from before the first sign at 96 stays beside it, and 96 as younger signs
    # began after it.
    assert [checkpoint.images_of(path) for path in checkpoint.numbered(folder / "checkpoints")] == [128, 96, 64]
    told = stopped.why(trainer, caught.value)
    assert told is not None
    assert "images-000000000064.safetensors" in told
    command = re.findall("`(.*?)`", told)[-1]
    assert command.startswith("orthogan branch")
    assert "--at 64" in command
    words = shlex.split(command)[1:]
    assert main([*words, "--images", "96", "--device", "cpu"]) == 0
    branched = Path(words[words.index("--out") + 1])
    assert checkpoint.newest(branched / "checkpoints")[0].header.extra["parent"]["images"] == 64
    assert read_config(branched).optimizer.g_lr == trainer.config.optimizer.g_lr / 2


def test_a_notice_stops_nothing(tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D is made to look right about every image."""
    monkeypatch.setattr(duty, "loss_by_chance", lambda name: 1e6)
    observer = DiesAt()
    trainer = begin(tmp_path / "run", arrays, observer, **{"watch.on_collapse": "stop"})
    trainer.game.g.network._forward_hooks.clear()
    assert trainer.run()
    (told,) = observer.alarms
    assert told.startswith("no collapse yet, but at ")
    assert "D is right about every image" in told
    (recorded,) = status(tmp_path / "run")["alarms"]
    assert recorded["notice"]


def test_after_the_last_rollback_the_run_stops(tmp_path: Path, arrays: Path) -> None:
    trainer = begin(tmp_path / "run", arrays, DiesAt(), **ROLLBACK, **{"watch.rollbacks": 2})
    network = trainer.game.g.network
    network.register_forward_hook(lambda module, inputs, out: 0 * out if trainer.images >= ONSET else out)
    with pytest.raises(Collapsed) as caught:
        trainer.run()
    found = status(tmp_path / "run")
    assert [record["rate_factor"] for record in found["rollbacks"]] == [0.5, 0.25]
    assert [alarm.get("attempt", 0) for alarm in found["alarms"]] == [0, 1, 2]
    assert "again after 2 rollbacks" in str(stopped.why(trainer, caught.value))


class Poisons(DiesAt):
    """A weight of G is no number from so many images of the first attempt on."""

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        if self.trainer is not None and (self.trainer.feed.attempt, images) == self.moment:
            with torch.no_grad():
                self.trainer.game.g.trained[0].view(-1)[0] = float("nan")


def test_a_divergence_is_rolled_back_too(tmp_path: Path, arrays: Path) -> None:
    observer = Poisons((0, 48))
    trainer = begin(tmp_path / "run", arrays, observer, **ROLLBACK, images=80)
    assert trainer.run()
    found = status(tmp_path / "run")
    assert [(record["from"], record["to"]) for record in found["rollbacks"]] == [(64, 32)]
    assert "the parameter" in found["alarms"][0]["signs"][0]["what"]
    assert "is not finite" in observer.alarms[0]


def test_a_divergence_without_rollback_is_told_as_before(tmp_path: Path, arrays: Path) -> None:
    trainer = begin(tmp_path / "run", arrays, Poisons((0, 48)))
    with pytest.raises(NonFiniteError):
        trainer.run()
    assert status(tmp_path / "run")["state"] == "collapsed"


class OnDevice:
    """Fabric of a run whose losses are read only when something is due."""

    device = SimpleNamespace(type="cuda")

    def __init__(self, fabric: Any):
        self._fabric = fabric

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fabric, name)


class Diverges(DiesAt):
    """The losses of the last step, 64 to 80, are none in the first attempt, and nobody waits for them."""

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        trainer = self.trainer
        if trainer is not None and images == 64:
            trainer.fabric = OnDevice(trainer.fabric)  # type: ignore[assignment]
            trainer.game.d.network.register_forward_hook(
                lambda module, inputs, out: out * torch.nan if trainer.images > 64 and not trainer.feed.attempt else out
            )


LATE = {"watch.every_images": 32, "cadence.log_images": 1000, "images": 80}


def test_losses_of_the_last_steps_on_a_device_are_looked_at_before_the_end(tmp_path: Path, arrays: Path) -> None:
    trainer = begin(tmp_path / "run", arrays, Diverges(), **LATE)
    with pytest.raises(NonFiniteError):
        trainer.run()
    assert status(tmp_path / "run")["state"] == "collapsed"
    assert checkpoint.images_of(checkpoint.numbered(trainer.checkpoints)[0]) == 64


def test_a_divergence_in_the_last_steps_on_a_device_is_rolled_back_too(tmp_path: Path, arrays: Path) -> None:
    trainer = begin(tmp_path / "run", arrays, Diverges(), **LATE, **ROLLBACK)
    assert trainer.run()
    found = status(tmp_path / "run")
    assert [(record["from"], record["to"]) for record in found["rollbacks"]] == [(80, 64)]
    assert (found["state"], found["images"]) == ("finished", 80)


def test_an_end_by_an_alarm_at_the_best_score_keeps_that_checkpoint_as_the_best(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distances = iter([5.0, 2.0])

    class Fake:
        def __init__(self, *args: object, **named: object) -> None: ...

        def score(self, images: object, **stamp: object) -> dict[str, Any]:
            return {"scores": {"frechet_distance": next(distances)}}

    monkeypatch.setattr(duties, "Scorer", Fake)
    scores = {"cadence.score_images": 64, "cadence.score_samples": 10}
    trainer = begin(tmp_path / "run", arrays, DiesAt(), **{"watch.on_collapse": "stop"}, **scores)
    with pytest.raises(Collapsed):
        trainer.run()
    assert trainer.images == 128
    assert checkpoint.read_header(trainer.checkpoints / checkpoint.BEST).images == 128


def test_without_looks_there_is_no_watch(tmp_path: Path, arrays: Path) -> None:
    trainer = begin(tmp_path / "run", arrays, DiesAt(), **{"watch.every_images": 0, "images": 32})
    assert trainer.run()
    assert not (tmp_path / "run" / "watch.jsonl").exists()
    assert "watch" not in checkpoint.newest(tmp_path / "run" / "checkpoints")[0].header.extra


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"watch.change": "r1"}, "watch.change='r1': only watch.on_collapse rollback reads it"),
        ({"watch.rollbacks": 5}, "watch.rollbacks=5"),
        ({**ROLLBACK, "watch.r1_gamma": 2.0}, "only watch.change r1 reads it"),
        ({**ROLLBACK, "watch.rate_factor": 1.0}, "watch.rate_factor=1.0"),
        ({**ROLLBACK, "watch.every_images": 0}, "watch.on_collapse='rollback'"),
        (
            {"watch.on_collapse": "rollback", "watch.change": "r1", "regularizers.d_r1.strength": 3.0},
            "watch.r1_gamma=1.0: must be more than regularizers.d_r1.strength=3.0",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(UserError) as error:
        override(tiny_run(), changes)
    assert named in str(error.value)


def test_lines_of_attempts_that_were_given_up_are_left_out() -> None:
    lines = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (1, 5), (2, 4), (2, 5)]
    found = history.not_given_up([{"attempt": attempt, "images": images} for attempt, images in lines])
    assert [(line["attempt"], line["images"]) for line in found] == [(0, 1), (0, 2), (1, 3), (2, 4), (2, 5)]


@pytest.mark.parametrize(
    ("rollbacks", "left"),
    [
        ([(4, 2, 1)], [(0, 1), (0, 2), (1, 3)]),
        ([(4, 2, 1), (3, 1, 2)], [(0, 1)]),
        ([(4, None, 1)], [(0, 1), (0, 2), (1, 3)]),
        ([(4, 2, None)], [(0, 1), (0, 2), (1, 3)]),
    ],
)
def test_by_the_rollbacks_before_any_line_overtakes_them(
    rollbacks: list[tuple[int | None, ...]], left: list[tuple[int, int]]
) -> None:
    told = [dict(zip(("from", "to", "attempt"), row, strict=True)) for row in rollbacks]
    known = history.rollbacks_of({"rollbacks": [{k: v for k, v in one.items() if v is not None} for one in told]})
    lines = [{"attempt": attempt, "images": images} for attempt, images in ((0, 1), (0, 2), (0, 3), (0, 4), (1, 3))]
    assert [(line["attempt"], line["images"]) for line in history.not_given_up(lines, known)] == left
