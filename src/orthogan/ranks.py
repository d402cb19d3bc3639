"""The processes of one job, which torchrun or srun has started: how they agree, and how they share rows of work.

With one process alone everything here does the work, and no more.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from orthogan.errors import UserError

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


def speaks_for_all() -> bool:
    """Whether this is the first of those processes, which has not joined them yet."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def count() -> int:
    """Processes that have joined; one where none have."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    return count() == 1 or dist.get_rank() == 0


def is_first_of_machine() -> bool:
    return count() == 1 or int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))) == 0


def together(work: Callable[[], Result], *, here: bool = True) -> Result | None:
    """The result of `work` in the processes where it is to be done `here`, None in the others.

    All of them wait for it, and where it fails for one, `UserError` is raised in all.
    """
    result, failure = None, None
    try:
        result = work() if here else None
    except UserError as error:
        failure = error
    failures = [None if failure is None else str(failure)]
    if count() > 1:
        failures = [None] * count()
        dist.all_gather_object(failures, None if failure is None else str(failure))
    if failure is not None:
        raise failure
    others = [text for text in failures if text is not None]
    if others:
        raise UserError(f"stopped, because another process of this run did: {others[0]}")
    return result


def of_first(work: Callable[[], Result]) -> Result:
    """What the first process finds, which decides for all. Raises `UserError` in all of them where it fails."""
    decided: list[Any] = [together(work, here=is_first())]
    if count() > 1:
        dist.broadcast_object_list(decided, src=0)
    return cast(Result, decided[0])


def one_a_machine(work: Callable[[], Result]) -> Result:
    """The result of `work`, which one process of each machine does before the others: they find what it has kept."""
    first = together(work, here=is_first_of_machine())
    later = together(work, here=not is_first_of_machine())
    return cast(Result, first if is_first_of_machine() else later)


def share(n: int, block: int) -> tuple[int, int]:
    """The rows, from and to, of n that this process takes: whole blocks, as many as the others or one more."""
    return _share_of(dist.get_rank() if count() > 1 else 0, n, block)


def _share_of(rank: int, n: int, block: int) -> tuple[int, int]:
    blocks, more = divmod(-(-n // block), count())
    first = rank * blocks + min(rank, more)
    return min(first * block, n), min((first + blocks + (rank < more)) * block, n)


def gathered(rows: Tensor, n: int, block: int) -> Tensor:
    """All n rows (n, ...) on the CPU in the first process, from the shares of all; in the others their own as it is.

    The first has a share unless n is 0, and so tells the shape of a row.
    """
    if count() == 1:
        return rows
    # NCCL sends between GPUs alone.
    through = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else rows.device
    if not is_first():
        if len(rows):
            dist.send(rows.contiguous().to(through), dst=0)
        return rows
    parts = [rows]
    for rank in range(1, count()):
        first, last = _share_of(rank, n, block)
        if last > first:
            parts.append(torch.empty(last - first, *rows.shape[1:], dtype=rows.dtype, device=through))
            dist.recv(parts[-1], src=rank)
    return torch.cat([part.to(rows.device) for part in parts])
