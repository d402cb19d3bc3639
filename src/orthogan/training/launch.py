"""The processes of a run: how many there are, how they start, agree and leave."""

import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from orthogan.errors import UserError

PATIENCE = timedelta(days=2)
"""How long processes wait for one another: the first one may pack or score for hours. Whoever started them, torchrun or
srun, ends those that wait for a dead one."""

Result = TypeVar("Result")


def processes() -> tuple[int, int]:
    """Processes on this machine and on all of them, as torchrun or srun has set them."""
    env = os.environ
    if "WORLD_SIZE" in env:
        return int(env.get("LOCAL_WORLD_SIZE", "1")), int(env["WORLD_SIZE"])
    # An interactive shell in an allocation has the number of tasks too, but is not one of them.
    if env.get("SLURM_JOB_NAME") in ("bash", "interactive") or "SLURM_PROCID" not in env:
        return 1, 1
    world = int(env.get("SLURM_NTASKS", "1"))
    return world // int(env.get("SLURM_NNODES", "1")), world


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


def together(fabric: Fabric, work: Callable[[], Result], *, here: bool = True) -> Result | None:
    """The result of `work` in the processes where it is to be done `here`, None in the others.

    All of them wait for it, and where it fails for one, `UserError` is raised in all.
    """
    result, failure = None, None
    try:
        result = work() if here else None
    except UserError as error:
        failure = error
    failures = [None if failure is None else str(failure)]
    if fabric.world_size > 1:
        failures = [None] * fabric.world_size
        dist.all_gather_object(failures, None if failure is None else str(failure))
    if failure is not None:
        raise failure
    others = [text for text in failures if text is not None]
    if others:
        raise UserError(f"stopped, because another process of this run did: {others[0]}")
    return result


def of_first(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """What the first process finds, which decides for all. Raises `UserError` in all of them where it fails."""
    decided: Any = fabric.broadcast(together(fabric, work, here=fabric.is_global_zero))
    return cast(Result, decided)


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
