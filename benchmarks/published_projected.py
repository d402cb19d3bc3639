"""The published code of Projected GAN as an opponent, loaded from a checkout that the user names.

Only `pg_modules` is imported: its discriminator and FastGAN's generator. What is added is the loop around them (three
forwards of D, DiffAugment, hinge, Adam, the average), one attribute that timm has renamed since, and below 128 pixels,
where its generator does not run, a last convolution after the block of 64 pixels.
"""

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.features import weights
from orthogan.features.pretrained import by_position, read_state

OWN_MODULES = ("pg_modules", "torch_utils", "dnnlib")
LITE0 = "efficientnet-lite0"
LEAST_SIDE = 128
"""Pixels of the smallest images that its generator makes."""
DIM_Z = 256
LEARNING_RATE, BETAS = 2e-4, (0.0, 0.99)
DECAY = 0.998


class Published:
    """A checkout of projected-gan, ready to build its networks."""

    def __init__(self, path: str | Path, device: torch.device) -> None:
        """`path` is the folder with `pg_modules`. Raises `FileNotFoundError` for another one."""
        self.path, self.device = Path(path).expanduser().resolve(), device
        if not (self.path / "pg_modules" / "discriminator.py").is_file():
            raise FileNotFoundError(f"{self.path}: no pg_modules there; give the folder of a projected-gan checkout")
        with _import_from(self.path):
            self.discriminator = importlib.import_module("pg_modules.discriminator")
            self.generators = importlib.import_module("pg_modules.networks_fastgan")
            self.blocks = importlib.import_module("pg_modules.blocks")
            self.projector = importlib.import_module("pg_modules.projector")
            self.augment = importlib.import_module("pg_modules.diffaug").DiffAugment

    def make_discriminator(self, pretrained: bool = False) -> Any:
        """With four discriminators, as its command line has them; features with timm's initial or pretrained weights.

        Building it runs the features once in training mode, on zeros: their batch norms are not quite the pretrained.
        """
        options = {"cout": 64, "expand": True, "proj_type": 2, "num_discs": 4, "separable": False, "cond": 0}
        create = timm.create_model
        self.projector.timm.create_model = lambda name, **_: _features(create(name), pretrained)
        try:
            d = self.discriminator.ProjectedDiscriminator(diffaug=True, interp224=True, backbone_kwargs=options)
        finally:
            self.projector.timm.create_model = create
        d.feature_network.requires_grad_(False)
        return d.to(self.device).train()

    def make_generator(self, side: int, width: int, lite: bool = False) -> nn.Module:
        """From latents to images."""
        options = {"synthesis_kwargs": {"lite": lite}}
        g = self.generators.Generator(z_dim=DIM_Z, img_resolution=max(side, LEAST_SIDE), ngf=width, **options)
        if side < LEAST_SIDE:
            return _Short(self, g.synthesis, width, side).to(self.device).train()
        return _WithoutClass(g).to(self.device).train()

    def train_step(self, side: int, batch: int, width: int) -> Callable[[], object]:
        """An update of G and one of D on random images, in float32, and the average."""
        d, g = self.make_discriminator(), self.make_generator(side, width)
        average = [p.detach().clone() for p in g.parameters()]
        trained = [*d.discriminator.parameters()]
        adam_g = torch.optim.Adam(g.parameters(), LEARNING_RATE, BETAS)
        adam_d = torch.optim.Adam(trained, LEARNING_RATE, BETAS)
        d.interp224 = side < 224
        real = torch.rand(batch, 3, side, side, device=self.device) * 2 - 1

        def latents() -> Tensor:
            return torch.randn(batch, DIM_Z, device=self.device)

        def opened(of_g: bool) -> None:
            g.requires_grad_(of_g)
            for parameter in trained:
                parameter.requires_grad_(not of_g)

        def step() -> None:
            opened(of_g=True)
            adam_g.zero_grad(set_to_none=True)
            (-d(g(latents()), None).mean()).backward()
            adam_g.step()
            opened(of_g=False)
            adam_d.zero_grad(set_to_none=True)
            F.relu(1 + d(g(latents()), None)).mean().backward()
            F.relu(1 - d(real, None)).mean().backward()
            adam_d.step()
            torch._foreach_lerp_(average, [p.detach() for p in g.parameters()], 1 - DECAY)

        return step


class _WithoutClass(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.inner(z, None)
        return images


class _Short(nn.Module):
    """Its synthesis up to 64 pixels, or fewer."""

    def __init__(self, published: Published, synthesis: Any, width: int, side: int):
        super().__init__()
        self.normalize = published.generators.normalize_second_moment
        self.first = synthesis.init
        sides = [s for s in (8, 16, 32, 64) if s <= side]
        self.blocks = nn.ModuleList(getattr(synthesis, f"feat_{s}") for s in sides)
        self.gate = synthesis.se_64 if side == 64 else None
        self.head = published.blocks.conv2d(width * {8: 8, 16: 4, 32: 2, 64: 2}[side], 3, 3, 1, 1, bias=True)

    def forward(self, z: Tensor) -> Tensor:
        first = h = self.first(self.normalize(z))
        for block in self.blocks:
            h = block(h)
        images: Tensor = self.head(h if self.gate is None else self.gate(first, h))
        return images


def _features(body: Any, pretrained: bool) -> Any:
    """lite0 as its projector expects it: timm's batch norms have taken the activation in."""
    if pretrained:
        state = read_state(weights.locate(LITE0, purpose=weights.JUDGING))
        body.load_state_dict(by_position(state, body.state_dict(), LITE0))
    body.act1 = nn.Identity()
    return body


@contextlib.contextmanager
def _import_from(path: Path) -> Iterator[None]:
    """Let imports see the checkout, then put sys.path and sys.modules back as they were."""
    sys.path.insert(0, str(path))
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path.remove(str(path))
        for name in [name for name in sys.modules if name.split(".")[0] in OWN_MODULES]:
            del sys.modules[name]
