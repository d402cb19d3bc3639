"""Settings that nothing of a run reads: an error where somebody sets one, not where a preset brings it along."""

from collections.abc import Callable

from orthogan.config import RunConfig
from orthogan.game.regularizers import RegularizerConfig
from orthogan.settings import differences, flatten, require


def _labelled(run: RunConfig) -> bool:
    return not run.data.unconditional


def _shares(run: RunConfig) -> bool:
    return _labelled(run) and getattr(run.generator, "shared_embedding", True)


def _scores(run: RunConfig) -> bool:
    return run.cadence.score_images > 0


def _updates(network: str) -> Callable[[RunConfig], bool]:
    return lambda run: run.freeze != network


def _stabilized(name: str) -> Callable[[RunConfig], bool]:
    return lambda run: run.discriminator.stabilizer in (None, name)


OF_G = (_updates("generator"), "a generator that is updated (freeze)")
OF_D = (_updates("discriminator"), "a discriminator that is updated (freeze)")
OF_BATCH_NORM = (lambda run: hasattr(run.generator, "bn_eps"), "a generator with batch norm")
ADAPTS = (
    lambda run: run.augment.kind != "ada" or run.augment.p is not None or run.freeze != "discriminator",
    "an adaptive augmentation, which follows updates of the discriminator (freeze)",
)
SCORED = (_scores, "a run with cadence.score_images above 0")

READERS: dict[str, tuple[Callable[[RunConfig], bool], str]] = {
    "generator.shared_embedding": (_labelled, "a generator with classes (data.unconditional)"),
    "generator.shared_dim": (_shares, "a generator with classes and generator.shared_embedding"),
    "discriminator.sn_eps": (_stabilized("spectral-norm"), "discriminator.stabilizer spectral-norm"),
    "discriminator.bn_eps": (_stabilized("batch-norm"), "discriminator.stabilizer batch-norm"),
    "fake_classes": (_labelled, "a run with classes (data.unconditional)"),
    "bn_over": OF_BATCH_NORM,
    **{f"augment.{name}": ADAPTS for name in ("target", "interval", "speed_images")},
    **{f"regularizers.{path}": OF_G if path.startswith("g_") else OF_D for path in flatten(RegularizerConfig())},
    "optimizer.g_lr": OF_G,
    "optimizer.d_lr": OF_D,
    "g_batches": OF_G,
    "ema.decay": OF_G,
    "ema.halflife_images": OF_G,
    "ema.rampup": OF_G,
    "ema.start_steps": (
        lambda run: _updates("generator")(run) and run.ema.decay != 0,
        "an average (ema.decay, freeze)",
    ),
    "cadence.score_features": SCORED,
    "cadence.score_samples": SCORED,
}
"""Whether a run reads a setting, by its path, and what does."""


def refuse_unread(begun: RunConfig, run: RunConfig) -> None:
    """Raise `UserError` for a setting that differs from what `begun` has, and that nothing of `run` reads."""
    for path, _, value in differences(begun, run):
        is_read, reader = READERS.get(path, (lambda _: True, ""))
        require(is_read(run), path, value, f"only {reader} reads it; change that, or leave this out")
