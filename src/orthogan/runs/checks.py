"""What a run is refused for before any work, and its data."""

from collections.abc import Callable
from dataclasses import replace

import torch
from lightning_fabric import Fabric

from orthogan import ranks, runtime
from orthogan.config import CadenceConfig, RunConfig, may_change_on_resume
from orthogan.data import ImageCache, holding
from orthogan.errors import UserError, unknown
from orthogan.features import weights
from orthogan.formats import to_json
from orthogan.game.latents import PRIORS
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import RULES
from orthogan.metrics.scores import MIN_IMAGES
from orthogan.pair import build_pair
from orthogan.runs.folders import whole_path
from orthogan.settings import differences, override, require
from orthogan.training import checkpoint
from orthogan.training.setup import rules

Progress = Callable[[int, int], None]


def check_names(config: RunConfig) -> None:
    """Refuse names that are in no table, and scores whose network or weights are missing, before any work."""
    if config.loss not in LOSSES:
        raise unknown("loss", config.loss, LOSSES)
    if config.generator.latent not in PRIORS:
        raise unknown("latent", config.generator.latent, PRIORS)
    for network in (config.generator, config.discriminator):
        network.check_present()
    for rule in RULES:
        getattr(config.regularizers, rule).check_present()
    if config.cadence.score_images:
        check_scores(config.cadence)
    if config.freeze_d_blocks:
        with torch.device("meta"):
            build_pair(config)  # which knows how many blocks there are


def refuse_frozen_blocks(config: RunConfig) -> None:
    """Refuse to leave fresh layers untrained."""
    rule = "of fresh networks these would stay random: begin from a checkpoint by --init, or leave it out"
    require(not config.freeze_d_blocks, "freeze_d_blocks", config.freeze_d_blocks, rule)


def check_compile(config: RunConfig, device: torch.device) -> None:
    """Refuse networks to compile where nothing could, or under rules on gradients of gradients."""
    if config.compile == "none":
        return
    runtime.check_compiler(device)
    for name, own in zip(("generator", "discriminator"), rules(config), strict=True):
        twice = [rule for rule, made in own.items() if made.differentiates_twice]
        twice += ["d_r1"] if name == "discriminator" and config.watch.change == "r1" else []
        rule = f"regularizers.{twice[0] if twice else ''} differentiates the {name} twice, which compiled code cannot"
        require(not twice or config.compile not in (name, "both"), "compile", config.compile, rule)


def check_scores(cadence: CadenceConfig) -> None:
    """Refuse scores whose network, packages or weights are missing, and too few images for one."""
    known = [*weights.NETWORKS, weights.OF_DATA]
    if cadence.score_features not in known:
        raise unknown("cadence.score_features", cadence.score_features, known)
    rule = f"scores need at least {MIN_IMAGES} images"
    require(cadence.score_samples >= MIN_IMAGES, "cadence.score_samples", cadence.score_samples, rule)
    try:
        weights.check_scoring(cadence.score_features)
    except UserError as error:
        raise UserError(f"{error}; or train without scores: --cadence.score-images 0") from error


def resolve(config: RunConfig, unset: int, n_classes: int, device: torch.device) -> RunConfig:
    """Fill in what depends on the data and the machine: number of classes, precision, the whole path of the source.

    `unset` is the number of classes that the settings began with. Raises `UserError` if it was set by hand to something
    that the data does not have.
    """
    check_names(config)
    asked = config.n_classes
    if asked not in (n_classes, unset):
        raise UserError(
            f"n_classes={asked}, but the data has {n_classes} classes; leave the setting out to take the data's"
        )
    precision = runtime.resolve_precision(config.precision, device)
    return override(with_whole_paths(config), {"n_classes": n_classes, "precision": precision})


def with_whole_paths(config: RunConfig) -> RunConfig:
    """The same settings with whole paths of data and weights, so that the run can be resumed from any folder."""
    data = replace(config.data, source=whole_path(config.data.source))
    return replace(config, data=data, discriminator=config.discriminator.with_whole_paths())


def check_classes(config: RunConfig, cache: ImageCache) -> None:
    """Data of another number of classes than the run's; of a resumed run the fingerprint says the rest."""
    rule = f"has {cache.n_classes} classes, and this run was begun with {config.n_classes}; give data with as many"
    require(cache.n_classes == config.n_classes, "data.source", config.data.source, rule)


def refuse_changes(trained: RunConfig, config: RunConfig) -> None:
    """Compare with what the newest checkpoint was trained with, or with the run's own file before the first one."""
    changed = [
        d for d in differences(to_json(trained), to_json(config)) if not d[0].startswith(may_change_on_resume(trained))
    ]
    if changed:
        told = "\n".join(f"  {path}: {before!r} -> {after!r}" for path, before, after in changed)
        raise UserError(
            f"a resumed run must keep its configuration, but these settings differ:\n{told}\n"
            "put them back (in config.json, where it was not the command line), or start a new run with "
            "`orthogan train`; cadences, the watch and the place of the data may change, and the length (images) "
            "unless the learning rate or the latent depends on it"
        )


def refuse_shorter(stands: checkpoint.Header, config: RunConfig) -> None:
    """A new length that the run has passed already."""
    kept = config.images == stands.config.images
    rule = f"the run already stands at {stands.images:,} images; give more, or leave it out"
    require(kept or config.images >= stands.images, "images", config.images, rule)


def load_data(config: RunConfig, progress: Progress | None = None) -> ImageCache:
    """The packed images that a run is trained on. Raises `UserError`, naming every unreadable file."""
    if not config.data.source:
        raise UserError("data.source is not set: give --data a folder, a zip, an array file, or the word digits")
    return holding.load(config.data, config.resolution, progress)


def load_on_all(fabric: Fabric, config: RunConfig, progress: Progress) -> ImageCache:
    """Let one process of each machine pack; the others then find the cache.

    Packing may take hours, so files that the networks are built from are read before.
    """
    for network in (config.generator, config.discriminator):
        network.check_files(config.resolution)
    return ranks.one_a_machine(lambda: load_data(config, progress))
