"""Pretrained classifiers as feature networks: images in [-1, 1] to four maps, at strides 4, 8, 16 and 32.

Networks are timm's, by its names or those of `NAMED`; those in `PACKAGED` have their weights by pip.
"""

import copy
import difflib
import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily

from orthogan import optional
from orthogan.errors import UserError
from orthogan.features import weights
from orthogan.features.pretrained import State, by_position, read_state
from orthogan.nn.depthwise import HalvingDepthwise, is_halving_depthwise
from orthogan.nn.folding import fold_batch_norms

Network = TypeVar("Network", bound=nn.Module)

STRIDES = (4, 8, 16, 32)
NAMED = {f"efficientnet-lite{k}": f"tf_efficientnet_lite{k}" for k in range(5)}
"""timm's names of the networks that Projected GAN compares."""
PACKAGED = tuple(NAMED)[:3]
"""Those whose weights come by pip."""
RANDOM = "random"
"""Said in the place of weights: those that timm begins with."""


class FeatureMaps(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] -> four maps (N, C, S / stride, S / stride), with S = `side(R)`.

    They come from the last block of each stride; where all blocks have one stride, as in vision transformers, from
    four evenly spaced blocks, without class tokens, resampled bilinearly and not weighted any further.
    """

    def __init__(self, body: Any, taps: list[int], size: int, name: str, identity: str | None):
        """`taps` index the maps of `body`, a network of timm's."""
        super().__init__()
        self.body, self.taps, self.size, self.name = body, taps, size, name
        self.identity = identity
        """Name and hash of the weights; None for random ones."""
        self.channels = tuple(body.feature_info[k]["num_chs"] for k in taps)
        self.fixed = hasattr(body, "set_input_size") or _has_one_stride(body)
        """Whether it takes images of `size` pixels only."""
        self.standardize = _standardize(body.pretrained_cfg["mean"], body.pretrained_cfg["std"])

    def extra_repr(self) -> str:
        return self.identity or f"{self.name}, random weights"

    def side(self, resolution: int) -> int:
        """Pixels a side at which images are seen: smaller ones are enlarged, larger ones shrunk only if they must."""
        return self.size if self.fixed else max(self.size, resolution)

    def forward(self, x: Tensor, count: int = len(STRIDES)) -> list[Tensor]:
        """The first `count` maps; nothing behind the last of them is run."""
        side = self.side(x.shape[-1])
        x = self.standardize(resize(x, side))
        taps = self.taps[:count]
        maps = self.body.forward_intermediates(x, indices=taps, stop_early=True, intermediates_only=True)
        return [resize(h, side // stride) for h, stride in zip(maps, STRIDES[:count], strict=True)]


class InPlaceWithoutGradients(nn.Module):
    """An activation that overwrites its input where no gradients are asked for.

    Where they are, PyTorch would copy what any but ReLU overwrites, ReLU6 among them.
    """

    def __init__(self, activation: nn.Module):
        """`activation` overwrites its input; its module has a flag for that."""
        super().__init__()
        self.in_place, self.apart = activation, copy.copy(activation)
        self.apart.inplace = False  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.apart(x) if x.requires_grad else self.in_place(x)
        return y


class Standardize(nn.Module):
    """[-1, 1] to images whose colours have mean 0 and deviation 1 over the data that a network was trained on."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        """Of values from 0 to 1, by colour."""
        super().__init__()
        of_mean, of_std = (torch.tensor(values)[:, None, None] for values in (mean, std))
        self.register_buffer("scale", 0.5 / of_std)
        self.register_buffer("shift", (0.5 - of_mean) / of_std)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


def _standardize(mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """Nothing for networks that were trained on [-1, 1]."""
    return nn.Identity() if {*mean, *std} == {0.5} else Standardize(mean, std)


def resize(x: Tensor, side: int) -> Tensor:
    """Bilinear, without a filter against aliasing, as in Projected GAN."""
    return x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def check_name(name: str) -> None:
    """Refuse a misspelt network of `NAMED`. timm's have no hyphens, and are looked up when one is built."""
    if name not in NAMED and ("-" in name or not name):
        raise _unknown(name, NAMED)


def check_present(name: str, given: str, purpose: weights.Purpose = weights.JUDGING) -> None:
    """Refuse a network whose package or whose weights, as far as they come by pip or as a file, are missing."""
    if name in PACKAGED and given != RANDOM:
        weights.locate(name, Path(given) if given else None, purpose)
    elif not optional.is_installed("timm"):
        raise optional.missing(["timm"], purpose.extra, purpose.name)
    else:
        _check_known(name)
        if given not in ("", RANDOM):
            _file(given)


def load(name: str, size: int, given: str = "") -> FeatureMaps:
    """Feature network `name` for images of `size` pixels and more: frozen, in evaluation, batch norms folded.

    `given` is the file of its weights, nothing for their usual place (a package, or timm's cache and hub), or the word
    random. On the meta device and among fake tensors no weights are looked for. Raises `UserError` for an unknown
    name, a network without such maps, a missing package, and weights that are missing or of another network.
    """
    check_name(name)
    return with_weights_or_shapes(partial(_load, name, size, given))


def with_weights_or_shapes(load: Callable[[bool], Network]) -> Network:
    """`load(True)`; on the meta device and among fake tensors `load(False)`, which need look for no weights."""
    made_here = torch.empty(0)
    if not made_here.is_meta and not isinstance(made_here, FakeTensor):
        return load(True)
    # With values for the moment: packages read numbers from tensors while they build.
    with unset_fake_temporarily(), torch.device("cpu"):
        network = load(False)
    return network._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))


def _load(name: str, size: int, given: str, filled: bool) -> FeatureMaps:
    body, state = _pretrained(name, given) if filled and given != RANDOM else (_create(name), None)
    taps = _taps(body, name)
    body.prune_intermediate_layers(taps, prune_norm=True, prune_head=True)
    identity = None if given == RANDOM else name
    if state is not None:
        _fill(body, state, given or name)
        identity = f"{name} sha256:{_digest(body)}"
    maps = FeatureMaps(body.eval().requires_grad_(False), taps, size, name, identity)
    _fit(maps)
    return maps.to(memory_format=torch.channels_last)


def _timm() -> Any:
    return optional.need("timm", weights.JUDGING.extra, weights.JUDGING.name)


def _create(name: str, pretrained: bool = False) -> Any:
    _check_known(name)
    return _timm().create_model(NAMED.get(name, name), pretrained=pretrained)


def _check_known(name: str) -> None:
    timm = _timm()
    if not timm.is_model(NAMED.get(name, name)):
        raise _unknown(name, [*NAMED, *timm.list_models()])


def _unknown(name: str, names: Iterable[str]) -> UserError:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = f"known: {', '.join(NAMED)}, and the models of timm, such as resnet18"
    return UserError(f"discriminator.features={name!r} is no network; {hint}{known}")


def _pretrained(name: str, given: str) -> tuple[Any, State]:
    """The whole network, and its weights under its own names."""
    if name in PACKAGED:
        path = weights.locate(name, Path(given) if given else None, weights.JUDGING)
        weights.verify(name, path)
        body = _create(name)
        return body, by_position(read_state(path), body.state_dict(), str(path))
    if given:
        return _create(name), read_state(_file(given))
    body = _from_hub(name)
    return body, body.state_dict()


def _file(given: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise UserError(f"discriminator.weights={given!r} is no file: correct {weights.JUDGING.flag}")
    return path


def _from_hub(name: str) -> Any:
    try:
        return _create(name, pretrained=True)
    except UserError:
        raise
    except Exception as error:  # timm's, the hub's, or one of whatever library they download by
        raise UserError(
            f"the weights of {name} are neither in timm's cache nor to be had from its hub ({type(error).__name__}): "
            f"give a file of them by {weights.JUDGING.flag} PATH, or take efficientnet-lite1, whose weights come by pip"
        ) from error


def _taps(body: Any, name: str) -> list[int]:
    """Which of the maps that a network of timm's can give are taken."""
    usable = hasattr(body, "forward_intermediates") and hasattr(body, "prune_intermediate_layers")
    strides = [info["reduction"] for info in body.feature_info] if usable else []
    if {*STRIDES} <= {*strides}:
        return [max(k for k, of_map in enumerate(strides) if of_map == stride) for stride in STRIDES]
    if len(strides) >= len(STRIDES) and _has_one_stride(body):
        return [len(strides) * (k + 1) // len(STRIDES) - 1 for k in range(len(STRIDES))]
    raise _unfit(name)


def _has_one_stride(body: Any) -> bool:
    return len({info["reduction"] for info in body.feature_info}) == 1


def _unfit(name: str, reason: str = "") -> UserError:
    return UserError(
        f"discriminator.features={name!r} does not give maps at the strides 4, 8, 16 and 32{reason}; take "
        "efficientnet-lite1, another network with such maps (resnet18), or a vision transformer"
    )


def _fill(body: nn.Module, state: State, where: str) -> None:
    """Put weights into what is left of a network; those of the rest are passed over."""
    # How many batches a batch norm has seen matters to nobody in evaluation.
    slots = {key: slot for key, slot in body.state_dict().items() if not key.endswith("num_batches_tracked")}
    if missing := [key for key in slots if key not in state]:
        raise UserError(f"{where}: not the weights of this network, {missing[0]} is missing")
    for key, slot in slots.items():
        if state[key].shape != slot.shape:
            raise UserError(f"{where}: {key} has shape {tuple(state[key].shape)}, not {tuple(slot.shape)}")
    body.load_state_dict({key: state[key] for key in slots}, strict=False)


def _digest(body: nn.Module) -> str:
    """Of the weights in use under timm's names, whatever file they came from."""
    found = hashlib.sha256()
    for key, value in body.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            found.update(key.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


@torch.autocast("cpu", enabled=False)  # of an estimate, in which a network may be built
def _fit(maps: FeatureMaps) -> None:
    """Fit a network to its images and make it fast. Raises `UserError` if its maps are not what it says."""
    side = maps.size if maps.fixed else 2 * STRIDES[-1]
    images = torch.linspace(-2, 2, 3 * side * side).view(1, 3, side, side)
    run = partial(maps.body.forward_intermediates, images, maps.taps, intermediates_only=True)
    try:
        if hasattr(maps.body, "set_input_size"):
            maps.body.set_input_size(img_size=(side, side))
        unfolded = run()
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _unfit(maps.name, f" of images of {side} pixels ({str(error).splitlines()[0]})") from error
    said = [(c, side // stride, side // stride) for c, stride in zip(maps.channels, STRIDES, strict=True)]
    if [tuple(h.shape[1:]) for h in unfolded] != said and not _has_one_stride(maps.body):
        raise _unfit(maps.name)
    fold_batch_norms(maps.body, run, kinds=(nn.Conv2d, _timm().layers.Conv2dSame))
    # What a convolution writes may be read by more than its norm.
    if not all(
        torch.allclose(a, b, rtol=1e-2, atol=1e-3 * float(a.abs().max())) for a, b in zip(unfolded, run(), strict=True)
    ):
        raise _unfit(maps.name, " once its batch norms are folded into its convolutions")
    for name, module in [*maps.body.named_modules()]:
        if is_halving_depthwise(module):
            maps.body.set_submodule(name, HalvingDepthwise(module))
        if getattr(module, "inplace", False) and not isinstance(module, nn.ReLU):
            maps.body.set_submodule(name, InPlaceWithoutGradients(module))
