"""Latents, their truncation, and ways between them."""

import pytest
import torch
from scipy import stats

from orthogan.errors import UserError
from orthogan.game.latents import (
    check_truncation,
    latents_at,
    lerp,
    normal,
    sample_latents,
    slerp,
    truncated_normal,
    uniform_classes,
)
from orthogan.randomness import draw

THRESHOLDS = [2.0, 1.5, 1.0, 0.5, 0.04]  # of the paper's figure 2


def test_plain_latents_are_standard_normal():
    z = normal(200, 100, draw(0, "test", 0))
    assert z.shape == (200, 100)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize("threshold", [*THRESHOLDS, 4.0])
def test_truncated_latents_have_the_law_of_redrawn_ones(threshold):
    z = truncated_normal(200, 100, threshold, draw(0, "test", 0))
    assert z.dtype == torch.float32
    assert stats.kstest(z.flatten().numpy(), stats.truncnorm(-threshold, threshold).cdf).pvalue > 0.01


def test_truncated_latents_agree_with_redrawing_itself():
    z, source = torch.randn(40_000, generator=draw(1, "test", 0)), draw(2, "test", 0)
    while (outside := z.abs() > 0.5).any():
        z[outside] = torch.randn(int(outside.sum()), generator=source)
    ours = truncated_normal(200, 100, 0.5, draw(0, "test", 0)).flatten()
    assert stats.ks_2samp(ours.numpy(), z.numpy()).pvalue > 0.01


@pytest.mark.parametrize("threshold", [*THRESHOLDS, 8.0, 50.0])
def test_truncated_latents_never_exceed_the_threshold(threshold):
    z = truncated_normal(100, 1000, threshold, draw(3, "test", 0))
    assert z.isfinite().all()
    assert z.abs().max() <= threshold


def test_two_thresholds_are_not_one_scaled():
    small, large = (truncated_normal(100, 100, t, draw(0, "test", 0)) for t in (0.5, 2.0))
    assert not torch.allclose(small, large / 4, atol=1e-2)


@pytest.mark.parametrize("truncation", [1.0, 0.4])
def test_scaled_form_is_the_threshold_times_a_normal_cut_at_2(truncation):
    scaled = sample_latents(200, 100, draw(0, "test", 0), truncation, "scaled")
    torch.testing.assert_close(scaled, truncation * truncated_normal(200, 100, 2.0, draw(0, "test", 0)))
    law = stats.truncnorm(-2, 2, scale=truncation)
    assert stats.kstest(scaled.flatten().numpy(), law.cdf).pvalue > 0.01


@pytest.mark.parametrize(("truncation", "form"), [(None, "redraw"), (0.5, "redraw"), (0.5, "scaled")])
def test_a_latent_depends_on_its_index_and_not_on_how_many_are_drawn(truncation, form):
    every = latents_at(5, 0, 12, 8, truncation, form)
    assert torch.equal(latents_at(5, 3, 4, 8, truncation, form), every[3:7])
    assert torch.equal(latents_at(5, 11, 1, 8, truncation, form), every[11:])
    assert len(every.unique(dim=0)) == 12
    assert not torch.equal(latents_at(6, 0, 12, 8, truncation, form), every)


@pytest.mark.parametrize(
    ("truncation", "form", "told"),
    [
        (0.0, "redraw", "truncation=0.0"),
        (-1.0, "redraw", "truncation=-1.0"),
        (float("nan"), "redraw", "truncation=nan"),
        (1.5, "scaled", "truncation=1.5"),
        (None, "scaled", "truncation_form='scaled'"),
    ],
)
def test_a_truncation_that_the_form_does_not_have_is_refused(truncation, form, told):
    for ask in (lambda: check_truncation(truncation, form), lambda: latents_at(0, 0, 1, 4, truncation, form)):
        with pytest.raises(UserError, match=told):
            ask()


def test_an_unknown_form_is_refused():
    with pytest.raises(UserError, match="scale"):
        check_truncation(0.5, "scale")


def test_classes_are_uniform_and_all_occur():
    y = uniform_classes(10_000, 10, draw(0, "test", 0))
    assert y.shape == (10_000,)
    assert y.dtype == torch.int64
    assert stats.chisquare(y.bincount(minlength=10).numpy()).pvalue > 0.01
    assert len(y.unique()) == 10


def test_lerp_by_hand():
    a, b = torch.tensor([0.0, 4.0]), torch.tensor([2.0, 0.0])
    assert lerp(a, b, torch.tensor([0.0, 0.25, 1.0])).tolist() == [[0, 4], [0.5, 3], [2, 0]]


def test_slerp_by_hand():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    third = slerp(a, b, torch.tensor([1 / 3]))[0]
    torch.testing.assert_close(third, torch.tensor([3**0.5, 1.0]))  # 30 degrees on a circle of radius 2


def test_slerp_keeps_the_norm_and_moves_at_an_even_angle():
    a, b = torch.nn.functional.normalize(torch.randn(2, 16, generator=draw(0, "test", 0)), dim=1) * 4
    way = slerp(a, b, torch.linspace(0, 1, 9))
    torch.testing.assert_close(way.norm(dim=1), torch.full((9,), 4.0))
    steps = torch.cosine_similarity(way[1:], way[:-1], dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", [lerp, slerp])
def test_ways_hit_both_ends_row_by_row(way):
    a, b = torch.randn(2, 5, 8, generator=draw(0, "test", 0))
    path = way(a, b, torch.linspace(0, 1, 4))
    assert path.shape == (4, 5, 8)
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b)
    torch.testing.assert_close(path[2, 3], way(a[3], b[3], torch.tensor([2 / 3]))[0])


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-6, -1.0])
def test_slerp_between_parallel_latents_is_finite(factor):
    a = torch.tensor([0.0, 3.0, 0.0])  # its cosine with itself is 1 to the last bit
    path = slerp(a, factor * a, torch.linspace(0, 1, 5))
    assert path.isfinite().all()
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], factor * a)
