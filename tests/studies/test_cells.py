"""The cells of every study against the tables of the papers."""

import itertools
from typing import Any

import pytest

from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.networks import family_of
from orthogan.pair import build_pair
from orthogan.presets import both
from orthogan.settings import differences
from orthogan.studies import STUDIES, biggan, projected, sngan
from orthogan.studies.cells import StudyOptions

DATA = DataConfig(source="somewhere")


OF_PRESETS = [name for name, study in STUDIES.items() if not study.branches]


def options(name: str, **changes: object) -> StudyOptions:
    return STUDIES[name].options(**({"data": DATA, "images": 1} | changes))


@pytest.mark.parametrize("name", OF_PRESETS)
def test_cells_have_names_of_their_own_and_differ_from_each_other(name: str) -> None:
    cells = STUDIES[name].cells(options(name))
    assert len({cell.name for cell in cells}) == len({cell.config for cell in cells}) == len(cells)
    assert all(" " not in cell.name and "/" not in cell.name for cell in cells)


@pytest.mark.parametrize("name", OF_PRESETS)
def test_options_of_every_study_reach_its_runs(name: str) -> None:
    data = DataConfig(source="there", mirror=True)
    cells = STUDIES[name].cells(options(name, data=data, ema=0.5, precision="bf16", width=32, batch=24))
    first = cells[0].config
    assert (first.data, first.ema.decay, first.precision, first.generator.width) == (data, 0.5, "bf16", 32)
    assert first.batch == 24


@pytest.mark.parametrize("name", OF_PRESETS)
def test_seeds_differ_in_nothing_else(name: str) -> None:
    one, two = STUDIES[name].cells(options(name, seeds=1)), STUDIES[name].cells(options(name, seeds=2))
    assert len(two) == 2 * len(one)
    for a, b in zip(two[: len(one)], two[len(one) :], strict=True):
        assert [path for path, *_ in differences(a.config, b.config)] == ["seed"]


@pytest.mark.parametrize(
    ("column", "lr", "beta1", "beta2", "d_steps"),
    [
        ("A", 0.0001, 0.5, 0.9, 5),
        ("B", 0.0001, 0.5, 0.999, 1),
        ("C", 0.0002, 0.5, 0.999, 1),
        ("D", 0.001, 0.5, 0.9, 5),
        ("E", 0.001, 0.5, 0.999, 5),
        ("F", 0.001, 0.9, 0.999, 5),
    ],
)
def test_settings_are_table_1_of_sn_gan(column: str, lr: float, beta1: float, beta2: float, d_steps: int) -> None:
    cells = sngan.stabilizers(options("stabilizers"))  # type: ignore[arg-type]
    found = [cell.config for cell in cells if cell.column == column]
    assert len(found) == 2 * 9
    for config in found:
        o = config.optimizer
        assert (o.g_lr, o.d_lr, o.beta1, o.beta2, config.d_steps) == (lr, lr, beta1, beta2, d_steps)


def test_stabilizers_train_the_paper_s_loss_and_wgan_gp_its_own() -> None:
    cells = sngan.stabilizers(options("stabilizers", seeds=1, settings=("C",)))  # type: ignore[arg-type]
    losses = {cell.row: cell.config.loss for cell in cells}
    assert losses.pop("wgan-gp") == "wasserstein"
    assert set(losses.values()) == {"non-saturating"}
    assert all(cell.config.discriminator.stabilizer == cell.row for cell in cells)


def test_width_changes_the_last_feature_map_alone() -> None:
    cells = sngan.width(options("width", seeds=1, width=4))  # type: ignore[arg-type]
    found = {cell.column: cell.config for cell in cells if cell.row == "orthonormal"}
    features = {column: build_pair(config)[1].linear.in_features for column, config in found.items()}
    assert features == {"x0.5": 256, "x1": 512, "x2": 1024, "x4": 2048}  # 4 x 4 pixels of 8 x 4 channels at x1
    for config in found.values():
        assert {path for path, *_ in differences(found["x1"], config)} <= {"discriminator.channels"}


def test_table_1_adds_one_thing_a_row() -> None:
    cells = biggan.table1(options("table1", seeds=1))  # type: ignore[arg-type]
    changes = [{path: now for path, _, now in differences(a.config, b.config)} for a, b in itertools.pairwise(cells)]
    assert changes == [
        {"batch": 32},
        {"batch": 64},
        {"batch": 128},
        both(width=12),
        {"generator.shared_embedding": True},
        {"generator.skip_z": True},
        {"regularizers.g_ortho.strength": 1e-4},
        both(width=8),
    ]
    first = cells[0].config
    assert (first.batch, first.generator.width, first.generator.shared_embedding, first.generator.skip_z) == (
        16, 8, False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("stabilizers", {"data": DataConfig()}, "data.source"),
        ("stabilizers", {"images": None}, "--budget MINUTES or --images N"),
        ("stabilizers", {"budget": 3.0}, "--budget MINUTES or --images N"),
        ("stabilizers", {"images": None, "budget": -1.0}, "positive minutes"),
        ("stabilizers", {"seeds": 0}, "seeds=0"),
        ("stabilizers", {"stabilizers": ("spectral",)}, "stabilizers="),
        ("stabilizers", {"settings": ()}, "settings="),
        ("stabilizers", {"settings": ("C", "C")}, "each once"),
        ("stabilizers", {"samples": 9}, "at least 10"),
        ("stabilizers", {"images": None, "budget": float("inf")}, "positive minutes"),
        ("stabilizers", {"preset": "digits"}, "SN-GAN family"),
        ("width", {"stabilizers": ()}, "stabilizers="),
        ("table1", {"preset": "sagan-128"}, "has no row '\\+ split z'"),
        ("stabilizers", {"preset": "sngan-cnn-33"}, "did you mean"),
        ("table1", {"preset": "sngan-32"}, "BigGAN family"),
        ("table1", {"width": 7}, "must be even"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, changes: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        STUDIES[name].cells(options(name, **changes))


def convergence(**changes: object) -> dict[str, object]:
    cells = projected.convergence(options("convergence", seeds=1, **changes))  # type: ignore[arg-type]
    return {cell.row: cell.config for cell in cells}


def test_convergence_has_the_published_pairs_with_the_same_data_and_batch() -> None:
    configs = convergence(batch=8)
    pairs = {row: (family_of(run.generator), family_of(run.discriminator)) for row, run in configs.items()}  # type: ignore[attr-defined]
    assert pairs == {
        "FastGAN": ("fastgan", "fastgan"),
        "Projected FastGAN": ("fastgan", "projected"),
        "StyleGAN2-ADA": ("stylegan2", "stylegan2"),
        "Projected StyleGAN2": ("stylegan2", "projected"),
        "BigGAN": ("biggan", "biggan"),
        "BigGAN + projected D": ("biggan", "projected"),
    }
    assert {run.batch for run in configs.values()} == {8}  # type: ignore[attr-defined]
    assert {(run.ema.decay, run.ema.halflife_images) for run in configs.values()} == {(0.99, None)}  # type: ignore[attr-defined]
    kinds = {row: run.augment.kind for row, run in configs.items()}  # type: ignore[attr-defined]
    assert kinds["StyleGAN2-ADA"] == "ada"
    assert kinds["BigGAN"] == "none"
    assert {kinds[row] for row in pairs if "rojected" in row or row == "FastGAN"} == {"diffaugment"}


def test_r1_of_the_convergence_study_follows_ada_s_rule() -> None:
    """0.0002 * 64^2 / 16, and 0.0002 * 32^2 / 32."""
    assert convergence()["StyleGAN2-ADA"].regularizers.d_r1.strength == pytest.approx(0.0512)  # type: ignore[attr-defined]
    small = convergence(resolution=32, batch=32)["StyleGAN2-ADA"]
    assert small.regularizers.d_r1.strength == pytest.approx(0.0064)  # type: ignore[attr-defined]


def test_each_method_of_the_convergence_study_has_its_own_published_balance() -> None:
    """Both of FastGAN's networks as wide, its sum over a batch of 8 as a mean."""
    configs: dict[str, Any] = convergence(batch=8, width=16)
    fastgan = configs["FastGAN"]
    assert (fastgan.generator.width, fastgan.discriminator.width) == (16, 16)
    assert fastgan.regularizers.d_reconstruction.strength == 8.0
    assert convergence(batch=32)["FastGAN"].regularizers.d_reconstruction.strength == 32.0  # type: ignore[attr-defined]


def test_rows_of_the_projection_study_change_one_thing_each() -> None:
    cells = {cell.row: cell.config for cell in projected.projection(options("projection", seeds=1))}  # type: ignore[arg-type]
    for row, config in cells.items():
        changed = {path: b for path, _, b in differences(cells["all"], config)}
        assert changed == projected.ABLATIONS[row]


@pytest.mark.parametrize("rows", [(), ("FastGAN", "FastGAN"), ("GAN",)])
def test_a_list_of_rows_that_is_none_is_refused(rows: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="rows"):
        options("convergence", rows=rows)
