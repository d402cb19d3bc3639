"""Networks of timm's over whole images: resized with a filter against aliasing, nothing cropped, colours as learnt."""

import difflib
import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from orthogan import optional
from orthogan.errors import UserError, one_line

INTERPOLATIONS = ("bicubic", "bilinear")
"""Of which PyTorch has antialiased forms; networks that learnt with another get the first."""


class WholeImages(nn.Module):
    """uint8 (N, 3, H, W) -> features (N, D) and logits (N, K), K 0 for a network that is no classifier."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, body: Any, size: int | None = None, projects: bool = False) -> None:
        """`size` in pixels, else that which the network was trained at. `projects`: its head gives the features."""
        super().__init__()
        self.body = body.to(memory_format=torch.channels_last)
        learnt = body.pretrained_cfg
        self.size = (size, size) if size else tuple(learnt["input_size"][-2:])
        wanted = learnt.get("interpolation", "")
        self.interpolation = wanted if wanted in INTERPOLATIONS else INTERPOLATIONS[0]
        self.mean, self.std = tuple(learnt["mean"]), tuple(learnt["std"])
        self.projects = projects
        for name, values in (("_mean", self.mean), ("_std", self.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    @property
    def resize(self) -> str:
        height, width = self.size
        return f"{self.interpolation}, antialiased, to {height}x{width} in float32, clamped to 0..255 (PyTorch)"

    def forward(self, images_nchw: Tensor) -> tuple[Tensor, Tensor]:
        x = F.interpolate(images_nchw.float(), self.size, mode=self.interpolation, antialias=True)
        x = (x.clamp(0, 255) / 255 - self._mean) / self._std
        x = self.body.forward_features(x.contiguous(memory_format=torch.channels_last))
        if self.projects:
            features = self.body.forward_head(x)
            return features, features[:, :0]
        features = self.body.forward_head(x, pre_logits=True)
        head = self.body.get_classifier()
        return features, features[:, :0] if isinstance(head, nn.Identity) else head(features)


def load(name: str, path: Path | None) -> tuple[WholeImages, str, int]:
    """Timm's network `name` with the weights of a file, else of timm's cache and hub; their SHA-256; and D.

    Raises `UserError` for an unknown name, weights that cannot be had or are another network's, and a network that
    does not give one vector an image.
    """
    timm = optional.need("timm", "scores", "scoring")
    if not timm.is_model(name):
        raise _unknown(name, timm)
    body = _create(timm, name, path).eval()
    module = WholeImages(body, projects=_projects(name, body))
    try:
        # What networks say of their dimensions does not always hold for the features before the head.
        with torch.inference_mode():
            (_, feature_dim), _ = (x.shape for x in module(torch.zeros(1, 3, *module.size, dtype=torch.uint8)))
    except (AttributeError, RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        raise UserError(f"features='timm:{name}' does not give one vector an image ({_line(error)})") from error
    return module, _digest(body), feature_dim


def _projects(name: str, body: Any) -> bool:
    """Whether the head is CLIP's projection into the space that it shares with text, and no classifier."""
    architecture, _, tag = f"{name}.{body.pretrained_cfg.get('tag')}".partition(".")
    return "_clip_" in architecture and "_ft_" not in tag and not isinstance(body.get_classifier(), nn.Identity)


def _create(timm: Any, name: str, path: Path | None) -> Any:
    if path is None:
        try:
            return timm.create_model(name, pretrained=True)
        except Exception as error:  # timm's, the hub's, or one of whatever library they download by
            raise UserError(
                f"the weights of timm:{name} are neither in timm's cache nor to be had from its hub "
                f"({type(error).__name__}): give a file of them by --weights PATH, or score by efficientnet-lite0, "
                "whose weights come by pip"
            ) from error
    file = path.expanduser()
    # Timm's own reader, which turns weights as their authors published them into its names. An .npz is the only kind
    # that networks read by themselves.
    source = {"file": str(file), "custom_load": file.suffix == ".npz"}
    try:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)
    except (
        *(AttributeError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError),
        *(pickle.UnpicklingError, SafetensorError),
    ) as error:
        raise UserError(f"weights={str(path)!r}: not the weights of timm:{name} ({_line(error)})") from error


def _unknown(name: str, timm: Any) -> UserError:
    near = difflib.get_close_matches(name, timm.list_models() + timm.list_pretrained(), n=1)
    hint = f"did you mean 'timm:{near[0]}'? " if near else ""
    return UserError(f"features='timm:{name}' is no network of timm's; {hint}`timm.list_pretrained()` lists them")


def _line(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}", 160)


def _digest(body: nn.Module) -> str:
    """Of the weights in use under timm's names, whatever file they came from."""
    found = hashlib.sha256()
    for key, value in body.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            found.update(key.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()
