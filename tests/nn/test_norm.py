"""Batch norm: conditional, over several processes, and with standing statistics."""

import copy
import threading
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn import norm
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d, norm_layers
from orthogan.nn.standing import standing_statistics


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def conditional(channels: int = 3, eps: float = 1e-4) -> ConditionalBatchNorm2d:
    return ConditionalBatchNorm2d(channels, nn.Linear(4, channels, bias=False), nn.Linear(4, channels, bias=False), eps)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance a channel."""
    mean = x.mean((0, 2, 3))
    return mean, (x - mean[:, None, None]).square().mean((0, 2, 3))


def normalized(x: Tensor, mean: Tensor, var: Tensor, eps: float = 1e-4) -> Tensor:
    return (x - mean[:, None, None]) / torch.sqrt(var + eps)[:, None, None]


def test_plain_norm_by_hand():
    layer = BatchNorm2d(1, eps=0.25)
    layer.weight.data.fill_(3)
    layer.bias.data.fill_(10)
    x = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(2, 1, 1, 2)
    # mean 3, biased variance 3.5, unbiased 4.67; sqrt(3.5 + 0.25) = 1.9365
    expected = 10 + 3 * (x - 3) / 3.75**0.5
    torch.testing.assert_close(layer(x), expected)


def test_plain_norm_starts_with_gain_one_and_bias_zero():
    layer = BatchNorm2d(3)
    assert layer.weight.tolist() == [1, 1, 1]
    assert layer.bias.tolist() == [0, 0, 0]
    assert layer.eps == 1e-4


def test_gain_is_one_plus_a_projection_of_the_condition():
    layer, x, condition = conditional(), torch.randn(5, 3, 4, 4), torch.randn(5, 4)
    gain = 1 + condition @ layer.gain.weight.T
    shift = condition @ layer.shift.weight.T
    expected = normalized(x, *moments(x)) * gain[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(layer(x, condition), expected, rtol=1e-4, atol=1e-5)


def test_a_condition_of_zero_leaves_the_normalised_image():
    layer, x = conditional(), torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(layer(x, torch.zeros(5, 4)), normalized(x, *moments(x)), rtol=1e-4, atol=1e-5)


def test_gradient_of_the_conditional_norm_agrees_with_finite_differences():
    layer = conditional().double()
    x = torch.randn(3, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    condition = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x, condition))


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_touches_no_buffer(training):
    layer = conditional().train(training)
    before = {name: b.clone() for name, b in layer.named_buffers()}
    layer(torch.randn(4, 3, 2, 2), torch.randn(4, 4))
    assert before.keys() == {"mean", "var"}
    assert all(torch.equal(b, before[name]) for name, b in layer.named_buffers())


def test_evaluation_uses_the_standing_statistics():
    layer = conditional().eval()
    layer.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    layer.var.copy_(torch.tensor([4.0, 9.0, 16.0]))
    x = torch.randn(5, 3, 2, 2)
    out = layer(x, torch.zeros(5, 4))
    torch.testing.assert_close(out, normalized(x, layer.mean, layer.var))
    torch.testing.assert_close(out[:2], layer(x[:2], torch.zeros(2, 4)))  # nothing of the batch enters


class Tiny(nn.Module):
    """A plain norm, then a conditional one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = BatchNorm2d(3), conditional()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x)), condition)


def collect(network: nn.Module, batches: list[Tensor], condition: Tensor | None = None) -> None:
    def forwards():
        for x in batches:
            yield network(x, torch.zeros(len(x), 4) if condition is None else condition)

    standing_statistics(network, forwards)


def batches(count: int = 4, size: int = 6) -> list[Tensor]:
    return [torch.randn(size, 3, 2, 2) * (i + 1) + i for i in range(count)]


def test_standing_statistics_are_means_of_batch_means_and_of_biased_batch_variances():
    network, xs = Tiny(), batches()
    collect(network, xs)
    means, variances = zip(*map(moments, xs), strict=True)
    torch.testing.assert_close(network.first.mean, torch.stack(means).mean(0))
    torch.testing.assert_close(network.first.var, torch.stack(variances).mean(0))
    # Not the variance of all the images together, which also holds the spread of the means.
    assert (moments(torch.cat(xs))[1] > network.first.var * 1.1).all()


def test_a_deeper_layer_is_collected_behind_the_batch_statistics_of_the_ones_before_it():
    network, xs = Tiny(), batches()
    collect(network, xs)
    inner = [F.relu(normalized(x, *moments(x))) for x in xs]
    torch.testing.assert_close(network.second.mean, torch.stack([moments(x)[0] for x in inner]).mean(0))
    torch.testing.assert_close(network.second.var, torch.stack([moments(x)[1] for x in inner]).mean(0))


def test_a_second_collection_starts_anew():
    network, fresh, xs = Tiny(), Tiny(), batches()
    fresh.load_state_dict(network.state_dict())
    collect(network, batches())
    collect(network, xs)
    collect(fresh, xs)
    assert torch.equal(network.first.mean, fresh.first.mean)
    assert torch.equal(network.second.var, fresh.second.var)


def test_training_after_a_collection_does_not_go_on_collecting():
    """Trap 10."""
    network = Tiny().train()
    collect(network, batches())
    before = copy.deepcopy(network.state_dict())
    network(torch.randn(4, 3, 2, 2), torch.zeros(4, 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(layer._collected is None for layer in norm_layers(network))  # it would grow for ever, unsynchronised


@pytest.mark.parametrize("training", [True, False])
def test_collecting_restores_the_mode(training):
    network = Tiny().train(training)
    collect(network, batches(1))
    assert {module.training for module in network.modules()} == {training}


@pytest.mark.parametrize("training", [True, False])
def test_collecting_that_fails_restores_the_mode_and_the_statistics(training):
    network = Tiny().train(training)

    def forwards():
        yield network(torch.randn(4, 3, 2, 2), torch.zeros(4, 4))
        raise KeyError

    with pytest.raises(KeyError):
        standing_statistics(network, forwards)
    assert {module.training for module in network.modules()} == {training}
    assert network.first.mean.tolist() == [0, 0, 0]
    collect(network, xs := batches())  # and nothing of the failed one is left
    torch.testing.assert_close(network.first.mean, torch.stack([moments(x)[0] for x in xs]).mean(0))


def test_collecting_records_no_graph():
    network = Tiny()
    collect(network, batches(1))
    assert not network.first.mean.requires_grad
    assert network.first.mean.grad_fn is None


def test_evaluation_after_a_collection_on_one_batch_repeats_training_on_it():
    network, x, condition = Tiny(), torch.randn(8, 3, 2, 2), torch.randn(8, 4)
    collect(network, [x], condition)
    trained = network.train()(x, condition)
    torch.testing.assert_close(network.eval()(x, condition), trained, rtol=1e-4, atol=1e-5)


def test_norm_layers_finds_them_all():
    network = nn.Sequential(Tiny(), nn.BatchNorm2d(3))
    assert norm_layers(network) == [network[0].first, network[0].second]


class FakeProcesses:
    """torch.distributed for threads of one process: each calls as its own rank."""

    def __init__(self, world: int):
        self.world, self.rank = world, threading.local()
        self.barrier, self.posted = threading.Barrier(world), [torch.empty(0)] * world

    def exchange(self, tensor: Tensor) -> list[Tensor]:
        self.posted[self.rank.value] = tensor.clone()
        self.barrier.wait(timeout=20)
        everyone = list(self.posted)
        self.barrier.wait(timeout=20)
        return everyone

    def all_gather(self, out: list[Tensor], tensor: Tensor) -> None:
        for mine, theirs in zip(out, self.exchange(tensor), strict=True):
            mine.copy_(theirs)

    def all_reduce(self, tensor: Tensor) -> None:
        tensor.copy_(torch.stack(self.exchange(tensor)).sum(0))

    def as_module(self) -> SimpleNamespace:
        return SimpleNamespace(
            is_available=lambda: True,
            is_initialized=lambda: True,
            get_world_size=lambda: self.world,
            all_gather=self.all_gather,
            all_reduce=self.all_reduce,
        )


@pytest.mark.parametrize("make", [lambda: BatchNorm2d(3), conditional], ids=["plain", "conditional"])
def test_norm_over_several_processes_equals_norm_over_the_whole_batch(make, monkeypatch):
    whole = make()
    for p in whole.parameters():
        nn.init.normal_(p)
    shards = 3
    x, condition = torch.randn(6, 3, 4, 4), torch.randn(6, 4)
    x[4:] += 5  # shards of unlike means
    upstream = torch.randn(6, 3, 4, 4)

    def run(layer: nn.Module, part: slice, results: dict) -> None:
        leaf = x[part].clone().requires_grad_()
        out = layer(leaf, condition[part])
        out.backward(upstream[part])
        results[part.start] = out.detach(), leaf.grad, [p.grad for p in layer.parameters()]

    expected: dict = {}
    run(copy.deepcopy(whole), slice(0, 6), expected)

    fake = FakeProcesses(shards)
    monkeypatch.setattr(norm, "dist", fake.as_module())
    results: dict = {}

    def process(rank: int) -> None:
        fake.rank.value = rank
        run(copy.deepcopy(whole), slice(2 * rank, 2 * rank + 2), results)

    threads = [threading.Thread(target=process, args=(rank,), daemon=True) for rank in range(shards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    out, grad, parameter_grads = expected[0]
    parts = [results[2 * rank] for rank in range(shards)]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), out, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), grad, rtol=1e-4, atol=1e-5)
    for i, theirs in enumerate(parameter_grads):
        torch.testing.assert_close(sum(part[2][i] for part in parts), theirs, rtol=1e-4, atol=1e-5)
