"""What rules that keep running averages ask of all processes."""

import torch.distributed as dist
from torch import Tensor


def over_processes(mean: Tensor) -> Tensor:
    """The mean of what all processes hold; every one of them must call it."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(mean)
        mean = mean / dist.get_world_size()
    return mean
