"""The rows of BigGAN's Table 1 (Brock et al. 2019) in small: batch, width, shared embedding, split z, ortho."""

from dataclasses import dataclass
from typing import Any

from orthogan import presets
from orthogan.errors import UserError
from orthogan.networks.biggan import BigGANGeneratorConfig
from orthogan.presets import both
from orthogan.settings import override, require
from orthogan.studies.cells import Cell, StudyOptions, common


@dataclass(frozen=True, kw_only=True)
class Table1Options(StudyOptions):
    preset: str = "digits"
    """Networks, learning rates and D steps; a preset of the BigGAN family."""
    width: int = 8
    """Channel multiplier of the first rows, 64 in the paper; later rows have half as much again, 96 there."""
    batch: int = 16
    """Batch of the first row, 256 in the paper; the next ones have 2, 4 and 8 times as much."""

    def __post_init__(self) -> None:
        super().__post_init__()
        generator = presets.get(self.preset).generator
        rule = "must be one of the BigGAN family, such as digits"
        require(isinstance(generator, BigGANGeneratorConfig), "preset", self.preset, rule)
        require(self.width % 2 == 0, "width", self.width, "must be even, for half as much again")


def table1(options: Table1Options) -> list[Cell]:
    """Row by row, each adding one thing to the one before; the last is narrow again, with everything."""
    grown = {"batch": 8 * options.batch}
    wide = {**grown, **both(width=options.width * 3 // 2)}
    shared = {**wide, "generator.shared_embedding": True}
    split = {**shared, "generator.skip_z": True}
    ortho = {**split, "regularizers.g_ortho.strength": 1e-4}
    rows: dict[str, dict[str, Any]] = {
        "baseline": {},
        "batch x2": {"batch": 2 * options.batch},
        "batch x4": {"batch": 4 * options.batch},
        "batch x8": grown,
        "+ width x1.5": wide,
        "+ shared embedding": shared,
        "+ split z": split,
        "+ ortho": ortho,
        "all, width x1": {**ortho, **both(width=options.width)},
    }
    plain: dict[str, Any] = {
        **both(width=options.width),
        "generator.shared_embedding": False,
        "generator.skip_z": False,
    }
    plain |= {"batch": options.batch, "regularizers.g_ortho.strength": 0.0}
    return [
        _cell(options, row, {**common(options, seed), **plain, **changes})
        for seed in range(options.seeds)
        for row, changes in rows.items()
    ]


def _cell(options: Table1Options, row: str, settings: dict[str, Any]) -> Cell:
    try:
        return Cell(row, "", override(presets.get(options.preset), settings), options.preset)
    except UserError as error:
        raise UserError(
            f"preset={options.preset!r} at width={options.width} has no row {row!r} ({error}); try another"
        ) from error
