"""Truncation curves: every point is an ordinary score, and the verdict follows its stated rule."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TinyFeatures, tiny_generator, tiny_run

from orthogan import judging
from orthogan.commands.truncation import main, show
from orthogan.errors import UserError
from orthogan.features import pretrained, weights
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import Request, truncation
from orthogan.model import load
from orthogan.networks import build_generator
from orthogan.networks.fastgan import FastGANGeneratorConfig
from orthogan.networks.stylegan2 import StyleGAN2GeneratorConfig
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header


@pytest.fixture(autouse=True)
def tiny_features(tiny: FeatureNet, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.name = "efficientnet-lite0"
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    monkeypatch.setattr(weights, "locate", lambda name, given=None: Path("nowhere"))


def saved(folder: Path, data: Path, generator: Any = None) -> Path:
    """A checkpoint of untrained networks."""
    torch.manual_seed(0)
    config = tiny_run(data)
    network = tiny_generator()
    if generator is not None:
        config = tiny_run(data, generator=generator)
        network = build_generator(generator, 16, 3)
    path = folder / "tiny.safetensors"
    tensors = {f"ema.{k}": v for k, v in network.state_dict().items()}
    checkpoint.save(path, tensors, Header(config, 5, 1, {"class_names": ["a", "b", "c"]}))
    return path


def point(threshold: float | None, frechet: float, classifier: float, saturated: float) -> dict[str, Any]:
    scores = {"frechet_distance": frechet, "classifier_score": classifier}
    return {"truncation": threshold, "scores": scores, "saturated_share": saturated}


def test_saturated_values_are_counted_over_chunks():
    black, grey = torch.zeros(1, 2, 2, 3, dtype=torch.uint8), torch.full((2, 2, 2, 3), 254, dtype=torch.uint8)
    grey[0, 0, 0, 0] = 255
    assert truncation.saturated_share([black, grey]) == (12 + 1) / 36


def test_amenable_where_a_score_improves_and_nothing_saturates():
    found = truncation.verdict([point(None, 50, 3, 0.1), point(1, 45, 3.5, 0.19), point(0.04, 90, 4, 0.2)], 0.05)
    assert (found["amenable"], found["saturates"], found["improves"]) == (True, False, True)
    assert "remedy" not in found
    assert "10.0% better at 1 " in found["reasons"][1]
    assert "33.3% better at 0.04" in found["reasons"][2]


def test_not_amenable_where_truncated_samples_saturate_beyond_plain_and_real_ones():
    points = [point(None, 50, 3, 0.1), point(1, 45, 3.5, 0.21)]
    assert truncation.verdict(points, 0.05)["saturates"]
    assert "g-ortho.strength 1e-4" in truncation.verdict(points, 0.05)["remedy"]
    assert "larger" in truncation.verdict(points, 0.05, g_ortho=1e-4)["remedy"]
    assert not truncation.verdict(points, 0.15)["saturates"]  # the data themselves are so: black backgrounds


@pytest.mark.parametrize(("plain", "real"), [(0.85, 0.858), (0.95, 0.1)])
def test_where_nearly_all_values_are_at_their_ends_saturation_cannot_be_judged(plain: float, real: float):
    points = [point(None, 50, 3, plain), point(1, 45, 3.5, 0.95)]
    found = truncation.verdict(points, real)
    assert (found["saturates"], found["amenable"]) == (None, True)
    assert found["reasons"][0].startswith("whether it saturates cannot be judged")
    assert "allowed" not in found["reasons"][0]


def test_beyond_the_bound_truncated_samples_saturate_however_little_room_there_is():
    points = [point(None, 50, 3, 0.85), point(1, 45, 3.5, 0.99)]
    assert truncation.verdict(points, 0.858)["saturates"] is True
    assert truncation.verdict([points[0], point(1, 45, 3.5, 0.85)], 0.8)["saturates"] is None
    assert truncation.verdict([point(None, 50, 3, 0.79), point(1, 45, 3.5, 0.85)], 0.7)["saturates"] is False


def test_not_amenable_where_neither_score_improves_by_more_than_the_margin():
    found = truncation.verdict([point(None, 50, 3, 0.1), point(1, 49.1, 3.05, 0.1), point(0.5, 60, 2.9, 0.1)], 0.1)
    assert (found["amenable"], found["saturates"], found["improves"]) == (False, False, False)
    assert "best +1.8%, at 1" in found["reasons"][1]


def test_a_gain_counts_only_beyond_the_intervals_of_both_points():
    points = [point(None, 50, 3, 0.1), point(1, 40, 3, 0.1), point(0.5, 45, 3, 0.1)]
    for one, ends in zip(points, ([48, 52], [30, 48.5], [43, 47]), strict=True):
        one["intervals"] = {"frechet_distance": ends, "classifier_score": [2.9, 3.1]}
    found = truncation.verdict(points, 0.1)
    assert found["improves"]
    assert "10.0% better at 0.5 than" in found["reasons"][1]  # that at 1 is the larger one, and may be chance
    points[2]["intervals"]["frechet_distance"] = [43, 48]
    found = truncation.verdict(points, 0.1)
    assert (found["improves"], found["amenable"]) == (False, False)
    assert found["reasons"][1].endswith("but their intervals overlap: it may be chance")
    points[1]["scores"]["classifier_score"], points[1]["intervals"]["classifier_score"] = 3.2, [3.11, 3.3]
    assert truncation.verdict(points, 0.1)["improves"]
    points[1]["intervals"]["classifier_score"] = [3.1, 3.3]
    assert not truncation.verdict(points, 0.1)["improves"]


def test_of_psi_no_regularisation_of_weights_is_advised():
    assert "remedy" not in truncation.verdict([point(None, 50, 3, 0.1), point(0.5, 60, 2, 0.1)], 0.1, "w")


def test_each_point_is_the_score_that_evaluate_gives_at_its_threshold(tmp_path: Path, arrays: Path):
    request = Request(source=str(saved(tmp_path, arrays)), against=str(arrays), samples=24, seed=3)
    found = truncation.curve(request, (0.5, 2.0, 0.5))
    assert [p["truncation"] for p in found["points"]] == [None, 2.0, 0.5]
    for i, threshold in ((0, None), (2, 0.5)):
        alone = judging.score(Request(**{**vars(request), "truncation": threshold}))
        assert found["points"][i]["scores"] == alone["scores"]
        assert found["points"][i]["intervals"] == alone["intervals"]
    assert found["points"][1]["scores"] != found["points"][2]["scores"]
    assert found["protocol"]["generator"]["truncation"] == [None, 2.0, 0.5]
    json.dumps(found, allow_nan=False)


def test_psi_of_a_stylegan2_has_a_curve_and_a_fastgan_none(tmp_path: Path, arrays: Path):
    style = StyleGAN2GeneratorConfig(dim_z=8, dim_w=8, channel_base=64, channel_max=8, mapping_layers=1)
    request = Request(source=str(saved(tmp_path, arrays, style)), against=str(arrays), samples=12)
    assert truncation.curve(request, (0.5,))["truncation_of"] == "w"
    fast = FastGANGeneratorConfig(dim_z=8, width=8)
    request = Request(source=str(saved(tmp_path, arrays, fast)), against=str(arrays), samples=12)
    with pytest.raises(UserError, match="no truncation"):
        truncation.curve(request)


@pytest.mark.parametrize(
    ("changes", "thresholds", "told"),
    [
        ({}, (), "at least one"),
        ({}, (0.5, -1.0), "positive"),
        ({}, (float("nan"),), "positive"),
        ({"truncation": 0.5}, None, "thresholds"),
        ({"form": "scaled"}, None, "paper's form"),
    ],
)
def test_what_has_no_curve_is_refused_before_images_are_read(
    changes: dict[str, Any], thresholds: tuple[float, ...] | None, told: str, tmp_path: Path, arrays: Path
):
    request = Request(source=str(saved(tmp_path, arrays)), against="nowhere", **changes)
    with pytest.raises(UserError, match=told):
        truncation.curve(request, thresholds)


def test_a_folder_of_images_is_no_generator(tmp_path: Path):
    with pytest.raises(UserError, match="not a generator"):
        truncation.curve(Request(source=str(tmp_path), against="nowhere"))


def test_uniform_latents_are_asked_only_for_thresholds_below_their_end(tmp_path: Path, arrays: Path):
    uniform = tiny_run(arrays).generator.__class__(
        width=8, channels=(2, 2, 1), dim_z=12, shared_dim=8, latent="uniform"
    )
    request = Request(source=str(saved(tmp_path, arrays, uniform)), against="nowhere")
    assert truncation.open_truncatable(request, None)[1] == (0.75, 0.5, 0.25, 0.1, 0.04)


def test_the_command_writes_the_curve_its_figure_and_a_row_of_samples_a_point(
    tmp_path: Path, arrays: Path, capsys: pytest.CaptureFixture[str]
):
    words = [str(saved(tmp_path, arrays)), "--against", str(arrays), "-n", "12", "--thresholds", "1", "0.5"]
    assert main([*words, "--out", str(tmp_path / "curve.json")]) == 0
    assert len(json.loads((tmp_path / "curve.json").read_text())["points"]) == 3
    assert (tmp_path / "curve.png").stat().st_size > 0
    assert (tmp_path / "curve-sheet.png").stat().st_size > 0
    printed = capsys.readouterr().out
    assert "amenable to truncation:" in printed
    with pytest.raises(UserError, match=r"\.json"):
        main([*words, "--out", "curve.png"])


def test_without_a_classifier_the_distance_alone_decides():
    points = [point(None, 50, 3, 0.1), point(1, 45, 3, 0.1)]
    for one in points:
        del one["scores"]["classifier_score"]
    assert truncation.verdict(points, 0.05)["amenable"]


def test_a_curve_against_the_images_that_the_generator_learnt_from(tmp_path: Path, arrays: Path):
    found = truncation.curve(Request(source=str(saved(tmp_path, arrays)), samples=20), (0.5,))
    assert found["protocol"]["real"]["part"] == "training"


def test_the_curve_against_a_generator_has_the_saturation_of_its_samples(tmp_path: Path, arrays: Path):
    """And not of the pictures that lie in the folder of its run."""
    model = saved(tmp_path, arrays)
    (tmp_path / "other").mkdir()
    other = shutil.copy(model, tmp_path / "other" / "model.safetensors")
    found = truncation.curve(Request(source=str(model), against=str(other), samples=30, resamples=0), (0.5,))
    samples = load(other, "cpu").sample(30, seed=1)
    assert found["real_saturated_share"] == truncation.saturated_share([torch.from_numpy(samples)])
    assert found["protocol"]["real"]["images"] == 30
    assert all("intervals" not in one for one in found["points"])


class WithoutClasses(torch.nn.Module):
    """As a network that learnt without labels."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return TinyFeatures()(images)[0], torch.empty(len(images), 0)


def test_over_a_network_without_classes_there_is_a_curve_too(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    net = FeatureNet("efficientnet-lite0", WithoutClasses(), weights_sha256="1" * 64, resize="none", feature_dim=4)
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": net)
    words = [str(saved(tmp_path, arrays)), "--against", str(arrays), "-n", "12", "--thresholds", "0.5"]
    assert main([*words, "--out", str(tmp_path / "curve.json")]) == 0
    told = capsys.readouterr().out
    assert "precision" in told
    assert "classifier" not in told


def test_the_table_fits_a_terminal_of_80_characters(capsys: pytest.CaptureFixture[str]):
    points = [point(None, 1234.5678, 12.3456, 0.1234), point(0.04, 1234.5678, 12.3456, 0.9999)]
    for one in points:
        one["scores"] |= {"precision": 0.12345, "recall": 0.12345}
    verdict = {"amenable": True, "reasons": []}
    for network in ("efficientnet-lite0", "inception", "timm:vit_small_patch14_dinov2.lvd142m"):
        protocol = {"features": {"network": network}, "generated": {"images": 50000}, "real": {"images": 50000}}
        show({"truncation_of": "z", "points": points, "protocol": protocol, "verdict": verdict, "notes": []})
    rows = [line for line in capsys.readouterr().out.splitlines() if "│" in line or "┃" in line]
    assert len(rows) >= 9
    assert max(map(len, rows)) <= 80
