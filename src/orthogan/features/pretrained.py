"""Feature networks: from bytes to the features and class scores that the distances are computed over."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from orthogan import optional
from orthogan.errors import UserError
from orthogan.features import weights, whole

CHUNK = 32
"""Images in one forward. Every forward has this many, so that rounding does not depend on the caller's batches."""

State = dict[str, Tensor]


class FeatureNet:
    """A frozen network and everything about it that a score depends on."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        *,
        weights_sha256: str,
        resize: str,
        feature_dim: int,
        device: torch.device | str = "cpu",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """`module` maps uint8 (N, 3, H, W) to features (N, D) and logits (N, K).

        `facts` are plain values that the protocol tells beside the rest.
        """
        self.name = name
        self.weights_sha256 = weights_sha256
        self.resize = resize
        self.feature_dim = feature_dim
        self.facts = dict(facts or {})
        self.device = torch.device(device)
        self._module = module.eval().requires_grad_(False).to(self.device)

    def __call__(self, images: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Features (N, D) and logits (N, K), float32 on the CPU, of uint8 images (N, H, W, 3).

        The numbers of an image do not depend on its neighbours. Raises UserError for other shapes or types.
        """
        parts = [self._forward(chunk) for chunk in as_images(images).split(CHUNK)]
        features, logits = (torch.cat(side) for side in zip(*parts, strict=True))
        return features, logits

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        n = len(images)
        padded = F.pad(images, (0, 0, 0, 0, 0, 0, 0, CHUNK - n)).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode(), exact_float32(self.device):
            features, logits = self._module(padded)
        # Clones outside inference mode: ordinary tensors, which may be saved and changed.
        return features[:n].float().cpu().clone(), logits[:n].float().cpu().clone()


def as_images(images: Tensor | np.ndarray) -> Tensor:
    """A uint8 tensor (N, H, W, 3), N at least 1, or UserError."""
    # Copied, because a memory-mapped array is read-only and PyTorch has no such tensors.
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    if tensor.dtype != torch.uint8 or tensor.ndim != 4 or tensor.shape[-1] != 3 or not len(tensor):
        raise UserError(f"scores take uint8 images (N, H, W, 3), not {tensor.dtype} {tuple(tensor.shape)}")
    return tensor


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Full float32 and repeatable kernels, whatever precision a surrounding training step has asked for."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def load(name: str, path: Path | None = None, device: torch.device | str = "cpu") -> FeatureNet:
    """Feature network `name` from the weights at `path`, else from their usual place (see `weights`).

    `timm:NAME` is any network of timm's, whose usual place is timm's cache and hub.

    Raises UserError for an unknown name, a missing package, and weights that are missing or not the published ones.
    """
    if name.startswith(weights.TIMM):
        return _of_timm(name, path, device)
    found = weights.locate(name, path)
    digest = weights.verify(name, found)
    module, resize, feature_dim = _BUILD[name](found)
    return FeatureNet(name, module, weights_sha256=digest, resize=resize, feature_dim=feature_dim, device=device)


def by_position(foreign: State, own: State, where: str) -> State:
    """Foreign weights under our names: the same entries in the same order, under other names.

    Raises UserError unless the counts and every shape agree.
    """
    if len(foreign) != len(own):
        raise UserError(f"{where}: {len(foreign)} entries where the network has {len(own)}")
    for (theirs, value), (ours, slot) in zip(foreign.items(), own.items(), strict=True):
        if value.shape != slot.shape:
            raise UserError(f"{where}: {theirs} has shape {tuple(value.shape)}, {ours} needs {tuple(slot.shape)}")
    return dict(zip(own, foreign.values(), strict=True))


def read_state(path: Path) -> State:
    """The tensors of a weight file. Only tensors: a file that would run code is refused with UserError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a weight file of PyTorch ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise UserError(f"{path}: holds no table of tensors by name; give the network's state_dict")
    return cast(State, state)


def _of_timm(name: str, path: Path | None, device: torch.device | str) -> FeatureNet:
    weights.check_scoring(name, path)
    module, digest, feature_dim = whole.load(name.removeprefix(weights.TIMM), path)
    facts: dict[str, Any] = {"mean": list(module.mean), "std": list(module.std)}
    if module.projects:
        facts["embedding"] = CLIP
    return FeatureNet(
        name,
        module,
        weights_sha256=digest,
        resize=module.resize,
        feature_dim=feature_dim,
        device=device,
        facts=facts,
    )


CLIP = "clip"
"""What a network's facts say of features that CLIP compares with text."""

Built = tuple[nn.Module, str, int]


def _efficientnet_lite(architecture: str, path: Path, size: int | None = None) -> Built:
    body = optional.need("timm", "scores", "scoring").create_model(architecture, pretrained=False)
    body.load_state_dict(by_position(read_state(path), body.state_dict(), str(path)))
    module = whole.WholeImages(body, size)
    return module, module.resize, body.num_features


def _inception(path: Path) -> Built:
    """The network of the usual FID and Inception Score: TensorFlow's of 2015-12-05, in torch-fidelity's form."""
    read_state(path)  # torch-fidelity loads without the check for tensors only
    fidelity = optional.need("torch_fidelity.feature_extractor_inceptionv3", "scores", "scoring")
    try:
        # The published Inception Score leaves the bias of the last layer out; so do these logits.
        module = fidelity.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
    except RuntimeError as error:
        raise UserError(f"{path}: not the weights of inception-v3-compat ({error})") from error
    return module, "bilinear to 299x299 as in TensorFlow 1 (torch-fidelity)", 2048


_BUILD: dict[str, Callable[[Path], Built]] = {
    "inception": _inception,
    "efficientnet-lite0": partial(_efficientnet_lite, "tf_efficientnet_lite0"),
    # A fifth of the arithmetic: for comparing many runs on small images.
    "efficientnet-lite0-96": partial(_efficientnet_lite, "tf_efficientnet_lite0", size=96),
    "efficientnet-lite1": partial(_efficientnet_lite, "tf_efficientnet_lite1"),
    "efficientnet-lite2": partial(_efficientnet_lite, "tf_efficientnet_lite2"),
}
