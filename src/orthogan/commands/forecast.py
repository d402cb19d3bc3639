"""What is told of a run before it begins: what follows its length, what it needs, what will never happen in it."""

import shutil
from contextlib import suppress
from pathlib import Path

import torch

from orthogan import runs, runtime
from orthogan.commands.presets import show
from orthogan.config import RunConfig
from orthogan.data import layout_warnings, open_source
from orthogan.data.sources import refuse_inside_data
from orthogan.errors import UserError
from orthogan.files import nearest_existing
from orthogan.pair import remarks
from orthogan.ranks import processes
from orthogan.reports import amount, console, duration, table, warn
from orthogan.settings import differences, flatten
from orthogan.training.cadence import duties_never_due, follow_length, never, total_steps
from orthogan.training.estimate import Estimate, estimate, folder_bytes
from orthogan.training.limits import check_world
from orthogan.training.speed import seconds_per_step


def tell_before(config: RunConfig, preset: RunConfig, begun: bool = False) -> None:
    """What follows from the length, what will never happen, and the traps that the data shows without being decoded.

    `begun`: the average does not begin from weights that know nothing.
    """
    fitted = follow_length(preset, config.images, config.batch, config.d_steps)
    followed = [
        f"{path} {before} -> {after}"
        for path, before, after in differences(preset, fitted)
        if path not in ("images", "batch", "d_steps") and flatten(config)[path] == after
    ]
    if followed:
        console.print(f"fitted to {config.images:,} images: {', '.join(followed)}")
    for text in (
        *remarks(config),
        *(duties_never_due if begun else never)(config),
    ):
        warn(text)
    with suppress(UserError):  # what cannot be read is told when all processes read it
        source = open_source(config.data.source, config.data.unconditional)
        for text in layout_warnings(source) + few_images(len(source), config.batch):
            warn(text)


def few_images(count: int, batch: int) -> list[str]:
    """A warning of data that one batch holds more than once."""
    if count >= batch:
        return []
    return [f"the data has {count} images and a batch {batch}, so that D will know them by heart: give more images"]


def dry_run(config: RunConfig, preset: RunConfig, name: str, folder: Path, device: torch.device) -> int:
    """Print the resolved configuration, what it needs and what the machine has, without training."""
    runs.check_names(config)
    runs.check_compile(config, device)
    refuse_inside_data(folder, config.data.source)
    runs.check_folder(folder)
    world = processes()[1]
    check_world(config, world)
    if config.data.source:
        # Opened, not packed: that may take hours, and more disk than the run.
        source = open_source(config.data.source, config.data.unconditional)
        config = runs.resolve(config, preset.n_classes, len(source.class_names), device)
    show(config, "configuration")
    tell_before(config, preset)
    precision = runtime.resolve_precision(config.precision, device)
    needs = estimate(config, precision, device, world)
    memory, disk = runtime.free_memory(device), shutil.disk_usage(nearest_existing(folder)).free
    wanted = needs.peak_bytes * (processes()[0] if device.type == "cpu" else 1)  # of all that share this memory
    fits = memory is None or wanted <= memory
    if fits:
        console.print("timing a step")
    seconds = seconds_per_step(config, precision, device, world) if fits else None
    table(
        "needs of one process",
        ["what", "how much", "there is"],
        need_rows(config, precision, needs, memory, disk, seconds),
    )
    if not fits:
        warn(
            f"{amount(wanted, 'B')} of memory are needed and {amount(memory or 0, 'B')} are free: "
            "lower batch, or raise accumulate; no step was timed"
        )
    if folder_bytes(config, needs.checkpoint_bytes) > disk:
        warn(f"the disk of {folder} has too little room for the run: lower cadence.keep_last, or choose another --out")
    return 0


def need_rows(
    config: RunConfig,
    precision: str,
    needs: Estimate,
    memory: int | None,
    disk: int,
    seconds: float | None,
) -> list[list[str]]:
    """What, how much of it, and how much there is."""
    steps = total_steps(config)
    timed = "not timed" if seconds is None else f"{seconds:.3g} s, {config.images_per_step / seconds:.3g} images/s"
    whole = "" if seconds is None else f"about {duration(seconds * steps)}"
    return [
        ["parameters of G", f"{needs.g_parameters:,}", ""],
        ["parameters of D", f"{needs.d_parameters:,}", ""],
        ["arithmetic of an image through G", amount(needs.g_flops, "FLOP"), ""],
        ["arithmetic of an image through D", amount(needs.d_flops, "FLOP"), ""],
        ["arithmetic of a step, a real image", amount(needs.step_flops, "FLOP"), ""],
        [
            f"memory at the peak ({precision})",
            amount(needs.peak_bytes, "B"),
            "" if memory is None else amount(memory, "B"),
        ],
        ["a checkpoint", amount(needs.checkpoint_bytes, "B"), ""],
        ["the run's folder, at most", amount(folder_bytes(config, needs.checkpoint_bytes), "B"), amount(disk, "B")],
        ["images", f"{config.images:,} in {steps:,} steps", ""],
        ["time of a step here, now", timed, ""],
        ["time of all steps", whole, ""],
    ]
