"""The processes of a run: how they start and leave. How they agree is in `orthogan.ranks`."""

import logging
from datetime import timedelta

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from orthogan.errors import UserError
from orthogan.ranks import processes

PATIENCE = timedelta(days=2)
"""How long processes wait for one another: the first one may pack or score for hours. Whoever started them, torchrun or
srun, ends those that wait for a dead one."""


def make_fabric(precision: str, device: torch.device) -> Fabric:
    """One process, or all that torchrun or srun has started, on this kind of device."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision on every start
    local, world = processes()
    if world > 1 and device.index is not None:
        raise UserError(f"device={str(device)!r}: with several processes each takes its own; leave the number out")
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index] if device.type == "cuda" and device.index is not None else local,
        num_nodes=world // local,
        # The spectral vectors are equal in all processes by construction; sending them would only cost time.
        strategy=DDPStrategy(broadcast_buffers=False, timeout=PATIENCE) if world > 1 else "auto",
        precision={"bf16": "bf16-mixed", "float32": "32-true"}[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def any_process(fabric: Fabric, here: bool) -> bool:
    """Whether something holds in any process, which all of them then know."""
    if fabric.world_size == 1:
        return here
    return bool(fabric.all_reduce(torch.tensor(float(here)), reduce_op="sum"))


def rows_of_all(fabric: Fabric, rows: Tensor) -> Tensor:
    """The rows of all processes, each of which has as many."""
    if fabric.world_size == 1:
        return rows
    found = fabric.all_gather(rows)
    assert isinstance(found, Tensor)
    return found.flatten(0, 1)


def is_lost_process(error: BaseException) -> bool:
    """Whether a collective operation failed because another process has ended."""
    told = str(error).lower()
    network = any(word in told for word in ("gloo", "nccl", "peer", "connection", "timed out"))
    return network and isinstance(error, RuntimeError) and dist.is_initialized()


def leave_together() -> None:
    """End the work of several processes: the first that just exits would break the connections of the others."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
