"""What a run will need, before it runs: parameters, arithmetic, memory.

One step is traced on fake tensors, which have shapes but no contents, while every storage that lives is counted.
"""

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from orthogan import runtime
from orthogan.config import RunConfig
from orthogan.game.losses import LOSSES
from orthogan.networks import build_discriminator, build_generator
from orthogan.training.steps import Batch, Game, Player

CPU_SLACK = 1.15
CPU_WORKSPACE_BYTES = 45 * 2**20
"""oneDNN's workspaces and the allocator's gaps, which no tensor shows: fitted to `python -m benchmarks.estimate`."""


@dataclass(frozen=True)
class Estimate:
    """Of one process with its share of the batch."""

    g_parameters: int
    d_parameters: int
    g_flops: int
    """Of one image through G."""
    d_flops: int
    """Of one image through D."""
    step_flops: int
    """Of a whole step, per real image shown."""
    peak_bytes: int
    """At the worst moment of a step: weights, gradients, Adam, average, activations, and on a CPU workspaces."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages made inside and still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_iter(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


class _Untouched(Player):
    """A player whose optimiser never steps: fake gradients have no values to check or to use."""

    def finish_update(self, losses: Tensor, rerun: Any) -> Tensor:
        return losses


class _OneProcess:
    """Fabric's verbs for a single process, without Fabric, which cannot set up fake networks."""

    autocast = no_backward_sync = staticmethod(lambda *_, **__: nullcontext())

    def backward(self, tensor: Tensor, gradient: Tensor | None = None) -> None:
        tensor.backward(gradient)


def estimate(config: RunConfig[Any], precision: str, device: torch.device, world_size: int = 1) -> Estimate:
    """Trace one step of one of `world_size` processes at a resolved precision."""
    micro = config.batch // world_size // config.accumulate
    with FakeTensorMode(), torch.device(device), runtime.autocast(precision, device):
        g, d = build_generator(config.network), build_discriminator(config.network)
        (z, y), (x, _) = _batches(config, micro, real=False)[0], _batches(config, micro, real=True)[0]
        g_flops, d_flops = (_forward_flops(n, inputs, y) // micro for n, inputs in ((g, z), (d, x)))
        with LiveBytes() as alive, FlopCounterMode(display=False) as flops:
            _step(config, g, d, micro)
    counts = [sum(p.numel() for p in n.parameters()) for n in (g, d)]
    # Weights and their two Adam moments, and the average of G. Gradients are in the trace.
    standing = 4 * (3 * sum(counts) + counts[0])
    step_flops = flops.get_total_flops() * world_size // config.images_per_step
    peak = standing + alive.peak
    if device.type == "cpu":
        peak = int(peak * CPU_SLACK) + CPU_WORKSPACE_BYTES
    return Estimate(counts[0], counts[1], g_flops, d_flops, step_flops, peak)


def _forward_flops(network: nn.Module, inputs: Tensor, y: Tensor | None) -> int:
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        network(inputs, y)
    return flops.get_total_flops()


def _step(config: RunConfig[Any], g: nn.Module, d: nn.Module, micro: int) -> None:
    joint = config.bn_over == "batch"
    g_player, d_player = (_Untouched(n, n, torch.optim.SGD(n.parameters(), lr=0.0)) for n in (g, d))
    game = Game(_OneProcess(), g_player, d_player, LOSSES[config.loss], joint_fakes=joint)  # type: ignore[arg-type]
    if joint:
        g.checkpoint_blocks = True  # type: ignore[assignment]
    for _ in range(config.d_steps):
        game.update_discriminator(_batches(config, micro, real=True), _batches(config, micro, real=False))
    game.update_generator(_batches(config, micro, real=False))


def _batches(config: RunConfig[Any], micro: int, *, real: bool) -> list[Batch]:
    network: Any = config.network
    shape = (3, network.resolution, network.resolution) if real else (network.dim_z,)
    y = torch.zeros(micro, dtype=torch.long) if network.n_classes else None
    return [(torch.zeros(micro, *shape), y) for _ in range(config.accumulate)]
