"""What a run will need, before it runs: parameters, arithmetic, memory, disk.

One step is traced on fake tensors, which have shapes but no contents, while every storage that lives is counted.
"""

import weakref
from collections.abc import Iterable
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
from orthogan.nn.frozen import trainable
from orthogan.pair import build_pair
from orthogan.sampling import sheet_layout
from orthogan.training.cadence import times_due
from orthogan.training.player import Player
from orthogan.training.rehearsal import ONE_PROCESS, average, batches, play
from orthogan.training.setup import make_game, rules

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
    checkpoint_bytes: int
    """Of one file: both networks, Adam's moments and the average."""


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


class _Everything:
    """Stands for PyTorch's tracker of modules, which refuses the inner gradients of penalties: all counts as one."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def _count_flops() -> FlopCounterMode:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Everything()  # type: ignore[assignment]
    return counter


class _Untouched(Player):
    """A player whose optimiser never steps: fake gradients have no values."""

    def step(self, strange: Tensor) -> None: ...


def estimate(config: RunConfig, precision: str, device: torch.device, world_size: int = 1) -> Estimate:
    """Trace one step of one of `world_size` processes at a resolved precision."""
    micro = config.batch // world_size // config.accumulate
    with FakeTensorMode(), torch.device(device), runtime.autocast(precision, device):
        g, d = build_pair(config)
        (z, y), (x, _) = batches(config, micro, real=False)[0], batches(config, micro, real=True)[0]
        g_flops, d_flops = (_forward_flops(n, inputs, y) // micro for n, inputs in ((g, z), (d, x)))
        moments = 2 * _bytes([*trainable(g), *trainable(d)])
        players = [_Untouched(n, n, torch.optim.SGD(n.parameters(), lr=0.0)) for n in (g, d)]
        game = make_game(config, ONE_PROCESS, (players[0], players[1]), rules(config))

        def flops(update: int) -> int:
            with _count_flops() as counted:
                play(config, game, micro, update)
            return counted.get_total_flops()

        with LiveBytes() as alive:
            whole = flops(0)
        step = average(game, lambda update: flops(1) if update else whole)
    counts = [sum(p.numel() for p in n.parameters()) for n in (g, d)]
    # Weights, two Adam moments of those that are trained, and the average of G. Gradients are in the trace.
    standing = _bytes([*g.parameters(), *g.parameters(), *d.parameters()]) + moments
    step_flops = int(step) * world_size // config.images_per_step
    peak = standing + alive.peak
    if device.type == "cpu":
        peak = int(peak * CPU_SLACK) + CPU_WORKSPACE_BYTES
    saved = _bytes([*g.state_dict().values()] * 2 + [*d.state_dict().values()]) + moments
    return Estimate(counts[0], counts[1], g_flops, d_flops, step_flops, peak, saved)


def folder_bytes(config: RunConfig, checkpoint_bytes: int) -> int:
    """The most that the folder of a run without alarms, each of which may keep one more checkpoint, will hold.

    Checkpoints: the last ones, one that is being written, the best, and one from before what may be a sign. Sheets: as
    if uncompressed, once in their own files and once in the curves.
    """
    cadence = config.cadence
    written = 1 + times_due(config.images, cadence.checkpoint_images, cadence.first_images)
    written += times_due(config.images, cadence.score_images)
    watched = bool(times_due(config.images, config.watch.every_images))
    checkpoints = min(cadence.keep_last + 1 + watched, written) + bool(cadence.score_images)
    at_end = bool(cadence.sheet_images) and config.images % cadence.sheet_images > 0
    sheets = 2 * (at_end + times_due(config.images, cadence.sheet_images, cadence.first_images))
    _, images_of_sheet = sheet_layout(config.n_classes)
    return checkpoints * checkpoint_bytes + sheets * images_of_sheet * 3 * config.resolution**2


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _forward_flops(network: nn.Module, inputs: Tensor, y: Tensor | None) -> int:
    with _count_flops() as flops, torch.no_grad():
        network(inputs, y)
    return flops.get_total_flops()
