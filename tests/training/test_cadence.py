"""When things are due, and how that follows the length of a run."""

import pytest

from orthogan import presets
from orthogan.settings import override
from orthogan.training.cadence import due, follow_length, never, times_due


@pytest.mark.parametrize("step", [1, 32, 70, 4096])
def test_due_at_the_first_images_at_each_doubling_and_then_at_multiples(step: int) -> None:
    # Written out by hand for every=5000, first=1000: 1000, 2000, 4000, then 5000, 10000, ...
    marks = [1000, 2000, 4000, 5000, 10_000, 15_000, 20_000]
    for before in range(0, 20_000, step):
        crossed = any(before < mark <= before + step for mark in marks)
        assert due(before, before + step, 5000, 1000) == crossed, before


def test_due_never_or_without_a_beginning() -> None:
    assert not any(due(n, n + 100, 0, 10) for n in range(0, 1000, 100))
    assert [n for n in range(1, 13) if due(n - 1, n, 4)] == [4, 8, 12]
    assert [n for n in range(1, 13) if due(n - 1, n, 4, 100)] == [4, 8, 12]


@pytest.mark.parametrize(("every", "first"), [(7, 0), (7, 2), (100, 3), (5, 9), (0, 4)])
def test_times_due_counts_what_due_says(every: int, first: int) -> None:
    for images in (0, 1, 3, 7, 50, 333):
        assert times_due(images, every, first) == sum(due(n, n + 1, every, first) for n in range(images))


def test_a_run_of_the_preset_s_length_is_the_preset() -> None:
    for name in presets.PRESETS:
        run = presets.get(name)
        assert follow_length(run, run.images, run.batch, run.d_steps) == run


def test_a_short_biggan_64_has_sheets_checkpoints_and_an_average() -> None:
    """15,625 steps of an average that would begin after 20,000, and nothing to see before 2,048,000 images."""
    run = presets.get("biggan-64")
    short = override(follow_length(run, 2_000_000, 64, 2), {"batch": 64})
    assert (short.ema.start_steps, short.ema.decay) == (int(20_000 * 15_625 / 165_000), 0.9994)
    assert (short.cadence.log_images, short.cadence.sheet_images, short.cadence.checkpoint_images) == (
        2_000_000 // 200,
        2_000_000 // 50,
        2_000_000 // 20,
    )
    assert never(short) == []
    told = " ".join(never(override(run, {"batch": 64, "images": 2_000_000, "cadence.first_images": 0})))
    assert "no sheet before its end: cadence.sheet_images is 2,048,000" in told
    assert "no checkpoint before its end: cadence.checkpoint_images" in told
    assert "ema.start_steps is 20,000 and the run has 15,625 steps" in told


@pytest.mark.parametrize(
    ("preset", "images", "decay"),
    [
        ("small-32", 32_000, 0.99),  # over 100 of 1,000 updates
        ("small-32", 96_000, 0.995),  # 200 of 3,000 are no more than a tenth
        ("digits", 3_200, 0.925),  # over 2 / 15 of 100, as in the preset over 100 of 750
        ("digits", 32, 0.0),
        ("sagan-128", 25_600, 0.0),  # has no average
        ("biggan-64", 204_800, 0.8),  # 50 updates; the preset's spans 6 % of 165,000
    ],
)
def test_the_average_of_a_short_run_spans_a_part_of_it(preset: str, images: int, decay: float) -> None:
    run = presets.get(preset)
    short = follow_length(run, images, run.batch, run.d_steps)
    assert short.ema.decay == decay
    assert not [told for told in never(short) if "initial weights" in told]


def test_an_average_by_images_stays_with_its_rampup() -> None:
    run = presets.get("stylegan2-ada-32")
    assert follow_length(run, 10_000, run.batch, 1).ema == run.ema


def test_a_half_life_follows_the_batch() -> None:
    run = presets.get("projected-64")
    half = 312.5 * 64  # images; the specification's 312.5 updates, whatever the batch
    assert run.ema.halflife_images == half
    assert follow_length(run, run.images, 16, 1).ema.halflife_images == half / 4


def test_what_a_run_was_too_short_for_is_due_at_the_end_of_a_shorter_one() -> None:
    run = override(presets.get("digits"), {"images": 3_000, "cadence.sheet_images": 16_000})
    assert follow_length(run, 640, run.batch, run.d_steps).cadence.sheet_images == 640


def test_a_longer_run_keeps_the_preset_s_cadences_and_average() -> None:
    run = presets.get("digits")
    assert follow_length(run, 10 * run.images, run.batch, 1).cadence == run.cadence
    biggan = presets.get("biggan-128")
    assert follow_length(biggan, 10 * biggan.images, 2048, 2).ema == biggan.ema


def test_the_fall_of_the_learning_rate_begins_at_the_same_share_of_the_run() -> None:
    run = presets.get("sngan-64")
    for images in (1_000, 5_000_000, 2 * run.images):
        assert follow_length(run, images, 64, 5).optimizer.decay_from_images == images * 4 // 5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cadence.score_images": 24_001}, "no score: cadence.score_images is 24,001"),
        ({"cadence.log_images": 30_000, "cadence.first_images": 0}, "no line of losses"),
        ({"cadence.spectra_images": 24_001, "cadence.first_images": 0}, "no line of singular values"),
        ({"ema.decay": 0.9999}, "93% of the average of G"),  # 0.9999^750
    ],
)
def test_what_can_never_happen_is_told(changes: dict[str, object], told: str) -> None:
    (warning,) = never(override(presets.get("digits"), changes))
    assert told in warning


def test_no_preset_warns_of_itself() -> None:
    assert {name: never(presets.get(name)) for name in presets.PRESETS if never(presets.get(name))} == {}


def test_the_watch_looks_as_often_in_a_short_run_but_not_more_than_200_times() -> None:
    run = override(presets.get("digits"), {"images": 1_000_000})
    looks = {images: follow_length(run, images, run.batch, 1).watch.every_images for images in (10**6, 10**5, 10**4)}
    assert looks == {10**6: 1_000, 10**5: 500, 10**4: 50}
    never_looks = override(run, {"watch.every_images": 0})
    assert follow_length(never_looks, 10_000, run.batch, 1).watch.every_images == 0
