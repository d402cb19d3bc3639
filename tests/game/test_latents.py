"""Latents, their priors and truncation, and ways between them."""

import math

import pytest
import torch
from scipy import stats

from orthogan.errors import UserError
from orthogan.game.latents import (
    PRIORS,
    VARIANCES,
    How,
    check_truncation,
    latents_at,
    lerp,
    sample_latents,
    slerp,
    truncated_normal,
    uniform_classes,
)
from orthogan.randomness import draw

THRESHOLDS = [2.0, 1.5, 1.0, 0.5, 0.04]  # of the paper's figure 2
TRUNCATABLE = [name for name, prior in PRIORS.items() if prior.untruncatable is None]
DISCRETE = {"bernoulli": {0, 1}, "rademacher": {-1, 1}, "categorical": {-1, 0, 1}}


def sample(prior, n=400, dim=100, **how):
    return sample_latents(n, dim, draw(0, "test", 0), prior=prior, **how)


def test_plain_latents_are_standard_normal():
    z = sample("normal", 200, 100)
    assert z.shape == (200, 100)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 0.01


# (mean, variance, P(z = 0)), worked by hand. E max(N, 0) = 1/sqrt(2 pi), E max(N, 0)^2 = 1/2; halves of a mixture
# have the mean 1/4 and the second moment (1 + 1/2) / 2.
MOMENTS = {
    "normal": (0, 1, 0),
    "uniform": (0, 1 / 3, 0),
    "bernoulli": (1 / 2, 1 / 4, 1 / 2),
    "rademacher": (0, 1, 0),
    "censored-normal": (1 / math.sqrt(2 * math.pi), 1 / 2 - 1 / (2 * math.pi), 1 / 2),
    "categorical": (0, 2 / 3, 1 / 3),
    "normal-times-bernoulli": (0, 1 / 2, 1 / 2),
    "normal-and-bernoulli": (1 / 4, 3 / 4 - 1 / 16, 1 / 4),
    "annealed-normal": (0, 1, 0),
    "per-sample-variance": (0, 1, 0),
}


@pytest.mark.parametrize("prior", PRIORS)
def test_moments_of_a_prior(prior):
    z = sample(prior)
    mean, variance, zeros = MOMENTS[prior]
    assert z.shape == (400, 100)
    assert z.dtype == torch.float32
    assert z.device.type == "cpu"
    assert z.mean().item() == pytest.approx(mean, abs=0.02)  # 4 standard errors of 40,000 draws
    assert z.var().item() == pytest.approx(variance, abs=0.03)
    assert (z == 0).float().mean().item() == pytest.approx(zeros, abs=0.01)


@pytest.mark.parametrize("prior", DISCRETE)
def test_support_of_a_discrete_prior(prior):
    values, counts = sample(prior).unique(return_counts=True)
    assert set(values.tolist()) == DISCRETE[prior]
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_support_of_the_uniform_prior():
    assert stats.kstest(sample("uniform").flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert sample("uniform").abs().max() <= 1


@pytest.mark.parametrize("prior", ["censored-normal", "normal-times-bernoulli"])
def test_what_is_not_censored_or_switched_off_is_normal(prior):
    z = sample(prior)
    law = stats.halfnorm if prior == "censored-normal" else stats.norm
    assert stats.kstest(z[z != 0].numpy(), law.cdf).pvalue > 0.01


def test_switches_are_independent_of_the_component_s_neighbours():
    on = (sample("normal-times-bernoulli") != 0).float() - 0.5
    assert abs((on[:, 1:] * on[:, :-1]).mean().item()) < 0.005
    assert abs((on[1:] * on[:-1]).mean().item()) < 0.005


@pytest.mark.parametrize(("dim", "discrete"), [(100, 50), (7, 3)])
def test_normal_and_bernoulli_share_the_components_in_halves(dim, discrete):
    z = sample("normal-and-bernoulli", dim=dim)
    assert z.shape == (400, dim)
    assert set(z[:, dim - discrete :].unique().tolist()) == {0, 1}
    assert stats.kstest(z[:, : dim - discrete].flatten().numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize(("progress", "variance"), [(0.0, 2.0), (0.25, 1.5), (0.5, 1.0), (0.75, 1.0), (1.0, 1.0)])
def test_annealed_variance_falls_from_2_to_1(progress, variance):
    z = sample("annealed-normal", progress=progress)
    assert stats.kstest(z.flatten().numpy(), stats.norm(scale=variance**0.5).cdf).pvalue > 0.01


def test_annealed_latents_end_as_normal_ones():
    assert torch.equal(sample("annealed-normal"), sample("normal"))


@pytest.mark.parametrize("prior", sorted(set(PRIORS) - {"annealed-normal"}))
def test_progress_changes_no_other_prior(prior):
    assert torch.equal(sample(prior, progress=0.0), sample(prior))


def test_per_sample_variance_is_uniform_over_samples_and_one_within_each():
    z = sample("per-sample-variance", n=200, dim=4000)
    low, high = VARIANCES
    variances = z.var(dim=1)
    assert stats.kstest(variances.numpy(), stats.uniform(low, high - low).cdf).pvalue > 0.01
    assert stats.kstest((z / variances.sqrt()[:, None]).flatten()[::7].numpy(), "norm").pvalue > 0.01


def test_every_prior_is_drawn_by_the_table():
    for prior in PRIORS:
        assert torch.equal(PRIORS[prior].draw(400, 100, draw(0, "test", 0), How()), sample(prior)), prior


def test_plain_normal_latents_are_those_of_torch():
    z = torch.randn(400, 100, generator=draw(0, "test", 0))
    assert torch.equal(sample("normal"), z)
    assert torch.equal(sample("normal", 400, 100), z)


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


# (mean, variance, P(z = 0)) at a threshold of 0.5. Of a normal cut there, V is E z^2 and H is E |z|.
V = stats.truncnorm(-0.5, 0.5).var()
H = stats.truncnorm(0, 0.5).mean()
TRUNCATED = {
    "normal": (0, V, 0),
    "uniform": (0, 0.25 / 3, 0),
    "censored-normal": (H / 2, V / 2 - H**2 / 4, 1 / 2),
    "normal-times-bernoulli": (0, V / 2, 1 / 2),
    "normal-and-bernoulli": (1 / 4, (V + 1 / 2) / 2 - 1 / 16, 1 / 4),
    "annealed-normal": (0, V, 0),
    "per-sample-variance": (0, None, 0),
}


@pytest.mark.parametrize("prior", TRUNCATABLE)
def test_redrawn_moments_of_a_prior(prior):
    z = sample(prior, truncation=0.5)
    mean, variance, zeros = TRUNCATED[prior]
    assert z.mean().item() == pytest.approx(mean, abs=0.01)
    assert variance is None or z.var().item() == pytest.approx(variance, abs=0.004)
    assert (z == 0).float().mean().item() == pytest.approx(zeros, abs=0.01)
    continuous = z[:, :50] if prior == "normal-and-bernoulli" else z
    assert 0.49 < continuous.abs().max() <= 0.5


@pytest.mark.parametrize("threshold", [1.0, 0.5, 0.04])
def test_no_component_exceeds_the_threshold_by_rounding(threshold, monkeypatch):
    def on_the_bound(n, dim, bound, generator):  # the rarest draw: t / std, which times std may round to beyond t
        return bound.expand(n, dim)

    monkeypatch.setattr("orthogan.game.latents.truncated_normal", on_the_bound)
    z = sample("per-sample-variance", truncation=threshold)
    assert (z <= torch.tensor(threshold)).all()


@pytest.mark.parametrize("prior", TRUNCATABLE)
def test_scaled_form_is_the_threshold_times_the_prior_cut_at_2(prior):
    scaled = sample(prior, truncation=0.4, form="scaled")
    whole = sample(prior) if prior == "uniform" else sample(prior, truncation=2.0)
    factor = torch.full((100,), 0.4)
    if prior == "normal-and-bernoulli":
        factor[50:] = 1  # the discrete half stays what it is
    torch.testing.assert_close(scaled, factor * whole)


def test_both_forms_are_one_for_the_uniform_prior():
    assert torch.equal(sample("uniform", truncation=0.3), sample("uniform", truncation=0.3, form="scaled"))
    assert sample("uniform", truncation=0.3).abs().max() <= 0.3


def test_annealed_latents_are_truncated_at_their_own_variance():
    z = sample("annealed-normal", truncation=0.5, progress=0.0)
    law = stats.truncnorm(-(0.5**1.5), 0.5**1.5, scale=2**0.5)  # 0.5 / sqrt(2) standard deviations
    assert stats.kstest(z.flatten().numpy(), law.cdf).pvalue > 0.01


def test_redrawing_keeps_the_variance_of_each_sample():
    low, high = VARIANCES
    std = (low + (high - low) * torch.rand(50, 1, generator=draw(0, "test", 0))).sqrt()
    slow = std * torch.randn(50, 4000, generator=draw(1, "test", 0))  # the definition: redraw until all fit
    source = draw(2, "test", 0)
    while (outside := slow.abs() > 1.5).any():
        slow[outside] = (std * torch.randn(slow.shape, generator=source))[outside]
    z = sample("per-sample-variance", n=50, dim=4000, truncation=1.5)
    assert z.abs().max() <= 1.5
    torch.testing.assert_close(z.var(dim=1), slow.var(dim=1), rtol=0.12, atol=0)
    assert torch.corrcoef(torch.stack([z.var(dim=1), slow.var(dim=1)]))[0, 1] > 0.9
    assert stats.ks_2samp(z.flatten()[::7].numpy(), slow.flatten()[::7].numpy()).pvalue > 0.01


@pytest.mark.parametrize(
    ("prior", "truncation"), [*((prior, None) for prior in PRIORS), *((prior, 0.5) for prior in TRUNCATABLE)]
)
def test_a_latent_of_any_prior_depends_on_its_index_alone(prior, truncation):
    every = latents_at(5, 0, 12, 24, truncation, prior=prior)
    assert torch.equal(latents_at(5, 3, 4, 24, truncation, prior=prior), every[3:7])
    assert torch.equal(every[7:8], sample_latents(1, 24, draw(5, "sample", 7), truncation, prior=prior))
    assert len(every.unique(dim=0)) == 12
    assert not torch.equal(latents_at(6, 0, 12, 24, truncation, prior=prior), every)


@pytest.mark.parametrize(
    ("prior", "truncation", "form"),
    [
        *((prior, None, "redraw") for prior in PRIORS),
        *(
            (prior, t, form)
            for prior in TRUNCATABLE
            for t, form in ((0.5, "redraw"), (0.04, "redraw"), (0.7, "scaled"))
        ),
    ],
)
@pytest.mark.parametrize("dim", [7, 120])
def test_latents_of_a_block_are_those_of_each_index_alone(prior, truncation, form, dim):
    alone = [sample_latents(1, dim, draw(5, "sample", i), truncation, form, prior) for i in range(2, 21)]
    assert torch.equal(latents_at(5, 2, 19, dim, truncation, form, prior), torch.cat(alone))


@pytest.mark.parametrize("threshold", [0.5, 0.04, 2.0])
def test_redrawn_latents_keep_their_bits(threshold):
    def by_the_formula(i):
        tail = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
        uniform = torch.rand(1, 120, generator=draw(5, "sample", i), dtype=torch.float64)
        return torch.special.ndtri(tail + (1 - 2 * tail) * uniform).clamp(-threshold, threshold).float()

    z = torch.cat([by_the_formula(i) for i in range(19)])
    assert torch.equal(latents_at(5, 0, 19, 120, threshold), z.clamp(-threshold, threshold))


def test_the_function_of_the_numbers_is_worked_out_once_a_block(monkeypatch):
    worked_out = []
    inverse = torch.special.ndtri
    monkeypatch.setattr(torch.special, "ndtri", lambda x: worked_out.append(x.shape) or inverse(x))
    latents_at(5, 0, 12, 8, 0.5)
    assert worked_out == [(12, 8)]


@pytest.mark.parametrize("prior", DISCRETE)
@pytest.mark.parametrize("form", ["redraw", "scaled"])
def test_truncation_of_a_discrete_prior_is_refused_with_the_reason(prior, form):
    for ask in (check_truncation, lambda *how: latents_at(0, 0, 1, 4, *how)):
        with pytest.raises(UserError, match=rf"truncation=0.5: prior='{prior}' is .* leave the threshold out"):
            ask(0.5, form, prior)
    check_truncation(None, "redraw", prior)
    with pytest.raises(UserError, match=r"truncation_form='scaled': .* leave it at 'redraw'"):
        check_truncation(None, "scaled", prior)


def test_only_discrete_priors_cannot_be_truncated():
    assert set(PRIORS) - set(TRUNCATABLE) == set(DISCRETE)


def test_a_threshold_beyond_the_uniform_prior_is_refused():
    check_truncation(1.0, "redraw", "uniform")
    with pytest.raises(UserError, match=r"truncation=1.5: prior='uniform' has nothing beyond 1; .*\(0, 1\]"):
        check_truncation(1.5, "redraw", "uniform")


def test_an_unknown_prior_is_refused_with_the_nearest():
    for ask in (lambda: check_truncation(None, "redraw", "uniforn"), lambda: sample("uniforn")):
        with pytest.raises(UserError, match=r"'uniforn'.*did you mean 'uniform'"):
            ask()


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
