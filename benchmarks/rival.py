"""The published BigGAN-PyTorch code as an opponent, loaded from a checkout that the user names.

Nothing of it is copied here: its modules are imported from that folder, its own training function, losses, optimizers
and weight averaging do the work. What is added from outside is only what current PyTorch needs to run them, and, where
asked, the two switches that any user could flip: bfloat16 autocast and channels_last activations.
"""

import contextlib
import importlib
import io
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

OWN_MODULES = (
    "BigGAN",
    "BigGANdeep",
    "animal_hash",
    "datasets",
    "layers",
    "losses",
    "sync_batchnorm",
    "train_fns",
    "utils",
)
"""Top-level names in the checkout; generic enough to clash with other packages, so they never stay in sys.modules."""
STUBBED_MODULES = ("datasets", "torchvision", "torchvision.transforms", "torchvision.utils")
"""Imported by its modules for data loading and sheets of samples, which a benchmark never reaches."""
PARAMETERS = {
    ("biggan-32", 64, 10): (4_304_387, 4_207_361),
    ("biggan-128", 96, 1000): (70_433_988, 87_982_370),
    ("biggan-deep-128", 128, 1000): (50_244_484, 34_590_210),
}
"""Of G and D as published, by preset, width and classes."""


class _Stub(types.ModuleType):
    """A module that has every attribute; each is an empty class."""

    __path__: list[str] = []  # noqa: RUF012  (the import system wants a plain list)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _is_own(name: str) -> bool:
    return name.split(".")[0] in (*OWN_MODULES, "torchvision")


@contextlib.contextmanager
def _import_from(path: Path) -> Iterator[None]:
    """Let imports see the checkout and the stubs, then put sys.path and sys.modules back as they were."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_own(name)}
    sys.modules.update({name: _Stub(name) for name in STUBBED_MODULES})
    sys.path.insert(0, str(path))
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path.remove(str(path))
        for name in [name for name in sys.modules if _is_own(name)]:
            del sys.modules[name]
        sys.modules.update(hidden)


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Swallow what the rival prints while it builds."""
    return contextlib.redirect_stdout(io.StringIO())


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in module.parameters())


def small_config(width: int) -> dict[str, Any]:
    """32x32, ten classes: the settings of its CIFAR script (no attention, per-class BN tables, N(0, 0.02) weights)."""
    return {
        "resolution": 32,
        "n_classes": 10,
        "G_ch": width,
        "D_ch": width,
        "G_shared": False,
        "hier": False,
        "dim_z": 128,
        "G_attn": "0",
        "D_attn": "0",
        "G_init": "N02",
        "D_init": "N02",
        "G_lr": 2e-4,
        "D_lr": 2e-4,
        "SN_eps": 1e-8,
        "BN_eps": 1e-5,
        "adam_eps": 1e-8,
        "ema_start": 1000,
        "skip_init": False,
        "inplace": False,
    }


def large_config(width: int, n_classes: int) -> dict[str, Any]:
    """128x128: the settings of its BigGAN script, without the costly orthogonal draw of the weights."""
    return {
        "resolution": 128,
        "n_classes": n_classes,
        "G_ch": width,
        "D_ch": width,
        "G_shared": True,
        "hier": True,
        "dim_z": 120,
        "shared_dim": 128,
        "G_attn": "64",
        "D_attn": "64",
        "G_lr": 1e-4,
        "D_lr": 4e-4,
        "SN_eps": 1e-6,
        "BN_eps": 1e-5,
        "adam_eps": 1e-6,
        "ema_start": 20_000,
        "skip_init": True,
        "inplace": True,
    }


def config_of(preset: str, width: int, n_classes: int) -> dict[str, Any]:
    """Its settings for the networks of one of orthogan's presets."""
    if preset == "biggan-32":
        return small_config(width) | {"n_classes": n_classes}
    changes: dict[str, dict[str, Any]] = {
        "biggan-64": {"resolution": 64, "D_attn": "32"},  # its D has no map of 64 pixels
        "biggan-128": {},
        "biggan-deep-128": {"dim_z": 128, "G_depth": 2, "D_depth": 2},
    }
    return large_config(width, n_classes) | changes[preset]


class Precise(nn.Module):
    """A module of the rival under bfloat16 autocast, its outputs back in float32 for the loss."""

    def __init__(self, inner: nn.Module, device: str) -> None:
        super().__init__()
        self.inner = inner
        self.device_type = torch.device(device).type

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(self.device_type, torch.bfloat16):
            out = self.inner(*args, **kwargs)
        return tuple(o.float() for o in out) if isinstance(out, tuple) else out.float()


def use_channels_last(generator: nn.Module) -> None:
    """Turn G's first feature map to channels_last; every later layer of G and D then follows.

    The weights stay as they are: the rival's spectral norm takes views of them that only the default layout allows.
    """

    def convert(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].contiguous(memory_format=torch.channels_last), *args[1:])

    generator.blocks[0][0].register_forward_pre_hook(convert)  # type: ignore[index, union-attr]


class Rival:
    """A BigGAN-PyTorch checkout, ready to build its networks.

    Args:
        path: folder of the checkout (the one with `BigGAN.py`).
        device: "cpu" or "cuda".
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        self.path = Path(path).expanduser().resolve()
        self.device = device
        if not (self.path / "BigGAN.py").is_file():
            raise FileNotFoundError(f"{self.path}: no BigGAN.py there; give the folder of a BigGAN-PyTorch checkout")
        with _import_from(self.path):
            self.plain, self.deep = importlib.import_module("BigGAN"), importlib.import_module("BigGANdeep")
            self.utils = importlib.import_module("utils")
            self.train_fns = importlib.import_module("train_fns")
        # Its latents subclass Tensor. The PyTorch it was written for returned plain tensors from their operations;
        # today's would drag the subclass, and its overhead, through both networks.
        self.utils.Distribution.__torch_function__ = torch._C._disabled_torch_function_impl

    def networks(self, preset: str, width: int, n_classes: int = 10) -> "RivalModel":
        """Its pair of networks for one of orthogan's presets (see `config_of`) at a width."""
        modules = self.deep if "deep" in preset else self.plain
        config, parameters = config_of(preset, width, n_classes), PARAMETERS.get((preset, width, n_classes))
        return RivalModel(self, modules, config, parameters)


class RivalModel:
    """One configuration of the rival; every callable it makes owns fresh networks."""

    def __init__(self, rival: Rival, modules: Any, config: dict[str, Any], parameters: tuple[int, int] | None) -> None:
        self.rival = rival
        self.modules = modules
        self.config = config
        if parameters is not None:
            self._check_parameters(parameters)

    def _options(self, **more: Any) -> dict[str, Any]:
        relu = nn.ReLU(inplace=self.config["inplace"])
        return {**self.config, "G_activation": relu, "D_activation": relu, **more}

    def _build(self, kind: str, device: str, **more: Any) -> Any:
        with quiet(), torch.device("meta" if device == "meta" else "cpu"):
            net = getattr(self.modules, kind)(**self._options(**more))
        return net if device == "meta" else net.to(device)

    def _check_parameters(self, expected: tuple[int, int]) -> None:
        found = tuple(
            count_parameters(self._build(kind, "meta", skip_init=True)) for kind in ("Generator", "Discriminator")
        )
        if found != expected:
            raise RuntimeError(f"{self.rival.path}: G and D have {found} parameters, the published code has {expected}")

    def _latents(self, batch: int, dim_z: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.rival.utils.prepare_z_y(batch, dim_z, self.config["n_classes"], device=self.rival.device)

    def _real_batch(self, rows: int, channels_last: bool) -> tuple[torch.Tensor, torch.Tensor]:
        side, device = self.config["resolution"], self.rival.device
        x = torch.rand(rows, 3, side, side, device=device) * 2 - 1
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return x.contiguous(memory_format=layout), torch.randint(self.config["n_classes"], (rows,), device=device)

    def train_step(
        self, batch: int, d_steps: int = 2, precision: str = "float32", channels_last: bool = False
    ) -> Callable[[], dict[str, float]]:
        """Build G, D and the averaged G; return one iteration of its published training function.

        Work of a call: batch * d_steps real images. Zeroed and toggled gradients, `d_steps` updates of D, one of G and
        the weight average are all its own code.
        """
        rival, device = self.rival, self.rival.device
        g, d = self._build("Generator", device), self._build("Discriminator", device)
        g_ema = self._build("Generator", device, skip_init=True, no_optim=True)
        if channels_last:
            use_channels_last(g)
        with quiet():
            ema = rival.utils.ema(g, g_ema, 0.9999, self.config["ema_start"])
        both = self.modules.G_D(g, d)
        if precision == "bf16":
            both = Precise(both, device)
        state = {"itr": 0}
        config = {
            "batch_size": batch,
            "num_D_steps": d_steps,
            "num_D_accumulations": 1,
            "num_G_accumulations": 1,
            "toggle_grads": True,
            "split_D": False,
            "D_ortho": 0.0,
            "G_ortho": 0.0,
            "ema": True,
        }
        z, y = self._latents(batch, g.dim_z)
        train = rival.train_fns.GAN_training_function(g, d, both, z, y, ema, state, config)
        real, labels = self._real_batch(batch * d_steps, channels_last)
        for net in (g, d, g_ema):
            net.train()

        def step() -> dict[str, float]:
            state["itr"] += 1
            return train(real, labels)

        return step

    def sample(self, batch: int, precision: str = "float32", channels_last: bool = False) -> Callable[[], torch.Tensor]:
        """Build G in eval mode; return its own sampling function with fresh z and y each call."""
        g = self._build("Generator", self.rival.device, no_optim=True).eval()
        if channels_last:
            use_channels_last(g)
        z, y = self._latents(batch, g.dim_z)
        autocast = torch.autocast(torch.device(self.rival.device).type, torch.bfloat16, enabled=precision == "bf16")

        def draw() -> torch.Tensor:
            with autocast:
                return self.rival.utils.sample(g, z, y, {"parallel": False})[0]

        return draw
