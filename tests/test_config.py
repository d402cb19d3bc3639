"""Configurations: checked at birth, saved and read back, compared and changed by path."""

import json
from dataclasses import FrozenInstanceError, is_dataclass, replace

import pytest

from orthogan.config import CadenceConfig, EmaConfig, OptimizerConfig, RunConfig
from orthogan.data.config import DataConfig
from orthogan.errors import UserError, unknown
from orthogan.formats import from_json, to_json
from orthogan.game.augment import AugmentConfig
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import RULES
from orthogan.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from orthogan.presets import PRESETS, get
from orthogan.settings import differences, flatten, from_dict, override, to_dict


@pytest.fixture
def run() -> RunConfig:
    return RunConfig(
        resolution=32,
        n_classes=10,
        generator=BigGANGeneratorConfig(width=16, channels=(4, 4, 4, 4), dim_z=64),
        discriminator=BigGANDiscriminatorConfig(width=16, channels=(4, 4), downs=2),
        batch=64,
    )


def read_back(run: RunConfig) -> RunConfig:
    """Through JSON text, as a checkpoint does it."""
    return from_json(json.loads(json.dumps(to_json(run))))


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip_through_json(name):
    assert read_back(get(name)) == get(name)


def test_a_configuration_cannot_be_changed_in_place(run):
    with pytest.raises(FrozenInstanceError):
        run.batch = 3
    with pytest.raises(FrozenInstanceError):
        run.generator.width = 3


def test_unknown_key_names_the_nearest_with_its_path(run):
    with pytest.raises(UserError, match=r"'optimizer\.g_rl'; did you mean 'optimizer\.g_lr'"):
        from_json({**to_json(run), "optimizer": {"g_rl": 1e-4}})
    with pytest.raises(UserError, match="'batchs'; did you mean 'batch'"):
        from_json({**to_json(run), "batchs": 4})


def test_a_name_like_nothing_known_gets_the_list_and_no_guess():
    text = str(unknown("loss", "qqqq", ["hinge", "abc"]))
    assert text == "unknown loss 'qqqq'; known: abc, hinge"


NETWORKS = {"resolution": 32, "generator": BigGANGeneratorConfig(), "discriminator": BigGANDiscriminatorConfig()}


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (DataConfig, {"mirror": 1}),
        (DataConfig, {"mirror": "yes"}),
        (DataConfig, {"source": None}),
        (DataConfig, {"crop": "centre"}),
        (OptimizerConfig, {"g_lr": "1e-4"}),
        (OptimizerConfig, {"g_lr": True}),
        (EmaConfig, {"start_steps": 1.5}),
        (BigGANGeneratorConfig, {"channels": 4}),
        (RunConfig, NETWORKS | {"precision": "fp16"}),
        (RunConfig, NETWORKS | {"optimizer": 3}),
        (RunConfig, NETWORKS | {"batch": True}),
        (RunConfig, NETWORKS | {"watch": 1}),
    ],
)
def test_wrong_type_names_setting_and_value(cls, values):
    name, value = list(values.items())[-1]
    with pytest.raises(UserError) as error:
        from_dict(cls, values)
    assert f"{name}={value!r}" in str(error.value)


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (DataConfig, {"source": ["a", "b"]}),
        (BigGANGeneratorConfig, {"channels": ["a", "b"]}),
    ],
)
def test_lists_are_checked_too(cls, values):
    with pytest.raises(UserError, match=list(values)[-1]):
        from_dict(cls, values)


def test_a_setting_without_a_default_must_be_there():
    with pytest.raises(UserError, match="resolution"):
        from_dict(RunConfig, {"generator": None, "discriminator": None})


def test_whole_number_where_a_float_belongs():
    assert from_dict(OptimizerConfig, {"g_lr": 1}).g_lr == 1


REFUSED = [
    (OptimizerConfig, "optimizer.g_lr", 0.0),
    (OptimizerConfig, "optimizer.g_lr", float("nan")),
    (OptimizerConfig, "optimizer.d_lr", -1e-4),
    (OptimizerConfig, "optimizer.beta1", 1.0),
    (OptimizerConfig, "optimizer.beta2", -0.1),
    (OptimizerConfig, "optimizer.eps", 0.0),
    (EmaConfig, "ema.decay", 1.0),
    (EmaConfig, "ema.start_steps", -1),
    (CadenceConfig, "cadence.log_images", 0),
    (CadenceConfig, "cadence.checkpoint_images", 0),
    (CadenceConfig, "cadence.keep_last", 0),
    (CadenceConfig, "cadence.score_samples", 0),
    (CadenceConfig, "cadence.sheet_images", -1),
    (CadenceConfig, "cadence.score_images", -1),
    (CadenceConfig, "cadence.spectra_images", -1),
]


@pytest.mark.parametrize(("cls", "path", "value"), REFUSED, ids=lambda part: str(getattr(part, "__name__", part)))
def test_bad_value_is_refused_at_birth_with_setting_and_value(cls, path, value):
    with pytest.raises(UserError) as error:
        cls(**{path.split(".")[1]: value})
    assert f"{path}={value!r}" in str(error.value)


@pytest.mark.parametrize("setting", ["resolution", "images", "batch", "accumulate", "d_steps"])
def test_counts_of_a_run_are_positive(run, setting):
    with pytest.raises(UserError, match=f"{setting}=0"):
        replace(run, **{setting: 0})


def test_zero_turns_a_cadence_off_where_it_says_so():
    assert CadenceConfig(sheet_images=0, score_images=0, spectra_images=0).spectra_images == 0


def test_accumulate_divides_the_batch(run):
    with pytest.raises(UserError, match="accumulate=3: must divide batch=64"):
        replace(run, accumulate=3)


def test_bn_over_the_batch_without_micro_batches_is_refused(run):
    with pytest.raises(UserError, match="bn_over='batch': has no effect while accumulate is 1"):
        replace(run, bn_over="batch")
    assert replace(run, bn_over="batch", accumulate=2).bn_over == "batch"


@pytest.mark.parametrize("rule", RULES)
def test_strengths_below_zero_and_forms_without_strength_are_refused(run, rule):
    with pytest.raises(UserError, match=rf"regularizers\.{rule}\.strength=-0.1"):
        override(run, {f"regularizers.{rule}.strength": -0.1})
    if rule in ("g_ortho", "d_ortho"):
        with pytest.raises(UserError, match=rf"regularizers\.{rule}\.form='biggan-pytorch': has no effect"):
            override(run, {f"regularizers.{rule}.form": "biggan-pytorch"})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("precision", "fp16"),
        ("bn_over", "all"),
        ("regularizers.g_ortho.form", "half"),
        ("generator.init", "ortho"),
        ("discriminator.width", "64"),
        ("data.crop", "centre"),
    ],
)
def test_override_checks_choices_and_types(run, path, value):
    run = override(run, {"accumulate": 2, "regularizers.g_ortho.strength": 1e-4})
    with pytest.raises(UserError, match=path.rpartition(".")[2]):
        override(run, {path: value})


def test_override_by_path_changes_only_that(run):
    changed = override(run, {"generator.width": 8, "optimizer.g_lr": 1e-3, "batch": 32})
    assert differences(run, changed) == [
        ("batch", 64, 32),
        ("generator.width", 16, 8),
        ("optimizer.g_lr", 5e-5, 1e-3),
    ]
    assert run.generator.width == 16


def test_override_settles_all_changes_of_a_part_before_it_checks(run):
    # Each of them alone is refused.
    changed = override(run, {"generator.channels": (4, 4), "discriminator.downs": 1, "resolution": 6})
    assert list(changed.generator.maps(6)) == [6]


def test_override_takes_a_list_for_a_tuple(run):
    changed = override(run, {"generator.channels": [8, 4, 4, 4]})
    assert changed == read_back(changed)


@pytest.mark.parametrize("path", ["bacth", "generator.widht", "loss.name", "optimizr.g_lr"])
def test_override_of_an_unknown_path_is_refused(run, path):
    with pytest.raises(UserError, match="unknown setting"):
        override(run, {path: 1})


def test_override_names_the_nearest_with_its_whole_path(run):
    with pytest.raises(UserError, match=r"'generator\.widht'; did you mean 'generator\.width'"):
        override(run, {"generator.widht": 8})


def test_override_checks_the_result(run):
    with pytest.raises(UserError, match=r"generator\.dim_z=63"):
        override(run, {"generator.dim_z": 63})


def test_flatten_gives_every_setting_its_path(run):
    flat = flatten(run)
    assert flat["generator.channels"] == [4, 4, 4, 4]
    assert flat["generator.width"] == 16
    assert flat == flatten(to_dict(run))

    def leaves(part):
        return sum(map(leaves, vars(part).values())) if is_dataclass(part) else 1

    assert len(flat) == leaves(run)


def test_differences_of_other_families_show_what_one_side_lacks():
    found = differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}, "d": 4})
    assert found == [("a", 1, None), ("b.c", 2, 3), ("d", None, 4)]


def test_images_per_step_counts_every_update_of_d(run):
    assert replace(run, batch=10, d_steps=3).images_per_step == 30


def test_every_path_of_a_message_exists(run):
    """A message that names a setting which is not there sends people looking."""
    assert {path for _, path, _ in REFUSED} <= flatten(run).keys()


@pytest.mark.parametrize("loss", LOSSES)
def test_adaptive_augmentation_wants_a_loss_whose_logits_mean_something(run, loss):
    adaptive, fixed = AugmentConfig(kind="ada"), AugmentConfig(kind="ada", p=0.5)
    replace(run, loss=loss, augment=fixed)
    if LOSSES[loss].boundary is None:
        with pytest.raises(UserError, match=rf"loss='{loss}': .*no boundary.*set augment\.p, or another loss"):
            replace(run, loss=loss, augment=adaptive)
    else:
        replace(run, loss=loss, augment=adaptive)
