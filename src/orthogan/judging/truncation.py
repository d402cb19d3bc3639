"""The trade of variety for fidelity that truncation offers: scores over thresholds, and whether a generator stands it.

Brock et al. 2019, section 3.1 and figure 2: the classifier score rises as the threshold falls, the Fréchet distance
first falls and then rises. Some generators answer truncated latents with saturated colours instead.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from orthogan import judging, model, ranks, runtime
from orthogan.errors import UserError
from orthogan.game.latents import PRIORS
from orthogan.judging.counting import Counting, silently
from orthogan.judging.generated import Samples
from orthogan.judging.reference import reference
from orthogan.judging.request import Request, is_model
from orthogan.metrics.evaluate import choose
from orthogan.metrics.measuring import ImageSet, batches
from orthogan.sampling import truncation_sheet
from orthogan.settings import require

Point = dict[str, Any]
"""A threshold (None: no truncation), its scores, their intervals, and the share of its pixels that are saturated."""

THRESHOLDS = {"z": (2.0, 1.5, 1.0, 0.75, 0.5, 0.25, 0.1, 0.04), "w": (0.9, 0.8, 0.7, 0.5, 0.3, 0.15, 0.04)}
"""Of the latents, down to the paper's smallest; psi of the intermediate latents, 1 being no truncation."""

SATURATED_IMAGES = 500
"""Images in which saturated pixels are counted."""
SATURATION_MARGIN = 0.1
"""Share of all pixel values by which saturation may grow beyond that of plain samples and of real images."""
SATURATION = {True: "saturated", False: "not saturated", None: "whether it saturates cannot be judged on such images"}
GAIN = 0.02
"""Share by which a score must improve at some threshold to count as better."""
REMEDY = "train with orthogonal regularisation of G: --regularizers.g-ortho.strength 1e-4 (BigGAN, section 3.1)"


def saturated_share(chunks: Iterable[Tensor]) -> float:
    """Share of the values of uint8 images (N, H, W, 3) that are 0 or 255."""
    ends = values = 0
    for images in chunks:
        ends += int(((images == 0) | (images == 255)).sum())
        values += images.numel()
    return ends / max(1, values)


def usual_thresholds(loaded: model.Model) -> tuple[float, ...]:
    """Those of the paper that mean something for this generator's latents."""
    kind = loaded.sampler.generator.truncation
    limit = PRIORS[loaded.sampler.generator.latent].limit if kind == "z" else 1.0
    return tuple(t for t in THRESHOLDS[kind] if t < limit)


def open_truncatable(request: Request, thresholds: Sequence[float] | None) -> tuple[model.Model, tuple[float, ...]]:
    """The generator of a request and the thresholds to look at, falling. Raises `UserError` for what has no curve."""
    require(request.truncation is None, "truncation", request.truncation, "the curve has its own; give thresholds")
    require(request.form == "redraw", "form", request.form, "the curve is of the paper's form; leave it out")
    if not is_model(request.path):
        raise UserError(f"{request.source} is not a generator: a truncation curve needs a run folder or a checkpoint")
    loaded = model.load(request.path, request.device)
    if loaded.sampler.generator.truncation == "none":
        raise UserError(f"{request.source}: this generator has no truncation, so there is no curve; score it as it is")
    chosen = usual_thresholds(loaded) if thresholds is None else tuple(sorted(set(thresholds), reverse=True))
    require(len(chosen) > 0, "thresholds", chosen, "give at least one, such as 0.5")
    for threshold in chosen:
        require(threshold > 0, "thresholds", chosen, "must be positive; 0.04 is the paper's smallest")
        loaded.check(1, None, threshold)
    return loaded, chosen


def curve(request: Request, thresholds: Sequence[float] | None = None, counting: Counting = silently) -> dict[str, Any]:
    """Scores without truncation and at each threshold, standing statistics recomputed at each. Plain JSON types:

        {"truncation_of": "z",
         "points": [{"truncation": None, "scores": {...}, "intervals": {...}, "saturated_share": 0.01}, ...],
         "real_saturated_share": ..., "verdict": {"amenable": ..., "reasons": [...], ...}, "notes": [...],
         "protocol": {...}}

    Every point has the numbers that `judging.score` gives for that threshold; without resamples there are no
    intervals. Raises `UserError`.
    """
    loaded, chosen = open_truncatable(request, thresholds)
    real_share = _real_saturation(request, counting)
    points: list[Point] = []
    for threshold in (None, *chosen):
        result = judging.score(dataclasses.replace(request, truncation=threshold), counting)
        count = min(result["protocol"]["generated"]["images"], SATURATED_IMAGES)
        share = ranks.of_first(partial(_saturation, loaded, count, threshold, request.seed))
        told: Point = {name: result[name] for name in ("scores", "intervals") if name in result}
        points.append({"truncation": threshold, **told, "saturated_share": share})
    protocol = result["protocol"]
    protocol["generator"]["truncation"] = [None, *chosen]
    kind = loaded.sampler.generator.truncation
    strength = loaded.header.config.regularizers.g_ortho.strength
    return {
        "truncation_of": kind,
        "points": points,
        "real_saturated_share": real_share,
        "verdict": verdict(points, real_share, kind, strength),
        "notes": result["notes"],
        "protocol": protocol,
    }


def _saturation(loaded: model.Model, count: int, threshold: float | None, seed: int) -> float:
    return saturated_share(loaded.stream(count, truncation=threshold, seed=seed))


def _real_saturation(request: Request, counting: Counting) -> float:
    """Of some of the images that the curve is against."""
    real = reference(request, Samples(request, counting), runtime.pick_device(request.device), counting).images
    if isinstance(real, ImageSet):
        return saturated_share(map(torch.as_tensor, real.stretch(0, min(real.count, SATURATED_IMAGES))))
    chosen = choose(len(real), SATURATED_IMAGES, "truncation/real")
    return saturated_share(torch.from_numpy(images) for images in batches(real, chosen))


def verdict(points: Sequence[Point], real_share: float, kind: str = "z", g_ortho: float = 0.0) -> dict[str, Any]:
    """Whether a generator is amenable to truncation, by a stated rule, and what to do where it is not.

    It is, where (1) the share of saturated pixel values nowhere exceeds the larger of plain samples' and real images'
    by more than SATURATION_MARGIN, and (2) the Fréchet distance or the classifier score is better at some threshold
    than without truncation by more than GAIN of it, and by so much that the intervals of the two do not overlap. Of
    points without intervals the gain alone decides. `g_ortho` is the strength of the regularisation in its training.

    Where (1) leaves less than SATURATION_MARGIN of all values to exceed it by, as on drawings in black and white,
    samples below it prove nothing: `saturates` is None, and (2) alone decides.
    """
    plain, *truncated = points
    bound = max(plain["saturated_share"], real_share) + SATURATION_MARGIN
    worst = max(truncated, key=lambda point: point["saturated_share"])
    beyond, room = worst["saturated_share"] > bound, bound <= 1 - SATURATION_MARGIN
    saturates = True if beyond else False if room else None
    signs = {"frechet_distance": -1, "classifier_score": 1}  # the latter of classifiers alone
    gains = {name: _gain(points, name, sign) for name, sign in signs.items() if name in plain["scores"]}
    improves = any(gain.counts for gain in gains.values())
    reasons = [
        f"{SATURATION[saturates]}: {worst['saturated_share']:.1%} of the pixel values at "
        f"{worst['truncation']:g} are 0 or 255; {plain['saturated_share']:.1%} without truncation, {real_share:.1%} of "
        f"real images, and {f'at most {bound:.1%} is allowed' if room or beyond else 'that leaves too little room'}",
        *(_told(name, gain) for name, gain in gains.items()),
    ]
    amenable = improves and not saturates
    found: dict[str, Any] = {"amenable": amenable, "saturates": saturates, "improves": improves, "reasons": reasons}
    if not amenable and kind == "z":
        found["remedy"] = (
            REMEDY if g_ortho == 0 else f"it was trained at g_ortho.strength {g_ortho:g}; try a larger one"
        )
    return found | {"rule": {"saturation_margin": SATURATION_MARGIN, "gain": GAIN}}


@dataclass(frozen=True)
class _Gain:
    """By what share a score is better at a threshold than without truncation, and whether by more than the luck."""

    share: float
    at: float
    clear: bool

    @property
    def counts(self) -> bool:
        return self.clear and self.share > GAIN


def _gain(points: Sequence[Point], score: str, sign: int) -> _Gain:
    """The largest improvement of a score over no truncation; of several one that counts."""
    plain, *truncated = points
    base = plain["scores"][score]
    gains = [
        _Gain(
            sign * (point["scores"][score] - base) / max(abs(base), 1e-12),
            point["truncation"],
            _apart(plain, point, score, sign),
        )
        for point in truncated
    ]
    return max(gains, key=lambda gain: (gain.counts, gain.share))


def _apart(plain: Point, point: Point, score: str, sign: int) -> bool:
    """Whether a point is better beyond both intervals; True where there are none."""
    ends = [one.get("intervals", {}).get(score) for one in (plain, point)]
    if None in ends:
        return True
    (plain_low, plain_high), (low, high) = ends
    return bool(low > plain_high if sign > 0 else high < plain_low)


def _told(score: str, gain: _Gain) -> str:
    name = score.replace("frechet", "Fréchet").replace("_", " ")
    if gain.share <= GAIN:
        return f"the {name} is at no threshold better by {GAIN:.0%} (best {gain.share:+.1%}, at {gain.at:g})"
    better = f"the {name} is {gain.share:.1%} better at {gain.at:g} than without truncation"
    return better if gain.clear else f"{better}, but their intervals overlap: it may be chance"


def sheet(request: Request, found: dict[str, Any], columns: int = 10) -> Image.Image:
    """A row of samples for each point of a curve, the same latents and classes in every row: the paper's figure 2."""
    loaded = model.load(request.path, request.device)
    thresholds = [point["truncation"] for point in found["points"]]
    return truncation_sheet(loaded.sampler, thresholds, request.seed, columns, loaded.stand)
