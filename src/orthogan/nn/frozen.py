"""Parts of a network that training leaves alone: pretrained features, random projections."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn


class Frozen(nn.Module):
    """A module that is pinned to evaluation, is not trained or initialised, and passes gradients on to its input.

    With an `identity`, such as the name and SHA-256 of pretrained weights, its tensors stay out of state dictionaries,
    and what is loaded must have the same identity; without one, as for random projections, they are saved like any.
    """

    def __init__(self, module: nn.Module, identity: str | None = None):
        super().__init__()
        self.module = module.eval().requires_grad_(False)
        self.identity = identity
        if identity is not None:
            self._register_load_state_dict_pre_hook(self._keep_own)

    def train(self, mode: bool = True) -> "Frozen":
        """Stays in evaluation."""
        return super().train(False)

    def forward(self, *inputs: Any) -> Any:
        return self.module(*inputs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Empty where an identity stands for the tensors."""
        if self.identity is None:
            return super().state_dict(*args, **kwargs)
        return kwargs.get("destination", {})

    def _keep_own(self, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
        for name, tensor in self.module.state_dict().items():
            state[f"{prefix}module.{name}"] = tensor


def freeze(modules: Iterable[nn.Module]) -> None:
    """Leave their parameters out of training from now on: see `trainable`. They do what they did before in all else."""
    for module in modules:
        module.requires_grad_(False)


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of a network that is open, without those of its frozen parts, in their order."""
    return [p for p in network.parameters() if p.requires_grad]


def unfrozen_modules(network: nn.Module) -> Iterator[nn.Module]:
    """All modules of a network but those inside frozen parts."""
    if not isinstance(network, Frozen):
        yield network
        for child in network.children():
            yield from unfrozen_modules(child)


def agree(own: Mapping[str, str], stated: Mapping[str, str]) -> bool:
    """Whether the identities of a network are those that a checkpoint states.

    On the meta device, where no weights are read, an identity is the name alone, the first word of a whole one.
    """
    return own.keys() == stated.keys() and all(
        stated[part] == identity or (" " not in identity and stated[part].partition(" ")[0] == identity)
        for part, identity in own.items()
    )


def identities(network: nn.Module) -> dict[str, str]:
    """What stands for the tensors of frozen parts that are not saved, by the name of the part."""
    found = ((name, m.identity) for name, m in network.named_modules() if isinstance(m, Frozen))
    return {name: identity for name, identity in found if identity is not None}
