"""Train the published networks of Projected GAN, or orthogan's, in one and the same loop, and print what D says.

    python -m benchmarks.published_training --rival PATH/TO/projected-gan --data PICTURES [--networks orthogan]

Images of 64 pixels, as released: lite0, four discriminators, small blocks, DiffAugment, Adam 2e-4. Narrower, and with
features of smaller images, than published, so that a processor can bear it. `--sheet` draws 32 latents at the end.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from benchmarks.published_projected import BETAS, DIM_Z, LEARNING_RATE, Published
from orthogan import pictures
from orthogan.data import pack
from orthogan.data.config import DataConfig
from orthogan.networks.fastgan import FastGANGenerator, FastGANGeneratorConfig
from orthogan.networks.projected import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from orthogan.nn.frozen import trainable

SIDE, WIDTH, SHOWN = 64, 32, 32
MARKS = (25, 50)
"""Updates after which a line is printed, besides every hundredth."""

Player = tuple[Callable[[Tensor], Tensor], list[nn.Parameter], Callable[[], None]]
"""Its forward, its trained parameters, and what it does before an update."""


def published(code: Published, size: int) -> tuple[Player, Player]:
    d = code.make_discriminator(pretrained=True)
    d.diffaug = d.interp224 = False
    g = code.make_generator(SIDE, WIDTH, lite=True)

    def judge(x: Tensor) -> Tensor:
        logits: Tensor = d(F.interpolate(x, size, mode="bilinear", align_corners=False), None)
        return logits

    return (g, list(g.parameters()), lambda: None), (judge, list(d.discriminator.parameters()), lambda: None)


def own(size: int) -> tuple[Player, Player]:
    d_config = ProjectedDiscriminatorConfig(features="efficientnet-lite0", mixing="released", size=size)
    d = ProjectedDiscriminator(d_config, SIDE, 0).train()
    g = FastGANGenerator(FastGANGeneratorConfig(width=WIDTH, dim_z=DIM_Z, blocks="small"), SIDE, 0).train()
    return (g, list(g.parameters()), g.before_update), (d, trainable(d), d.before_update)


def train(code: Published, players: tuple[Player, Player], real: Tensor, options: argparse.Namespace) -> Tensor:
    """Train, print means since the line before, and return images of G."""
    (g, g_trained, before_g), (d, d_trained, before_d) = players
    adam_g, adam_d = (torch.optim.Adam(p, LEARNING_RATE, BETAS) for p in (g_trained, d_trained))
    shown, rng = torch.randn(SHOWN, DIM_Z), torch.Generator().manual_seed(0)
    found: list[list[float]] = []

    def judged(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return d(code.augment(images, policy="color,translation,cutout")).float()

    def drawn(z: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return g(z).float()

    def fakes() -> Tensor:
        return drawn(torch.randn(options.batch, DIM_Z, generator=rng))

    for update in range(1, options.updates + 1):
        # G first, as in the published loop
        _open(d_trained, False)
        before_g()
        g_loss = -judged(fakes()).mean()
        adam_g.zero_grad()
        g_loss.backward()
        adam_g.step()
        _open(d_trained, True)
        before_d()
        adam_d.zero_grad()
        with torch.no_grad():
            fake = fakes()
        on_fake = judged(fake)
        F.relu(1 + on_fake).mean().backward()
        x = real[torch.randint(len(real), (options.batch,), generator=rng)].float() / 127.5 - 1
        mirrored = torch.rand(options.batch, generator=rng) < 0.5
        on_real = judged(torch.where(mirrored[:, None, None, None], x.flip(3), x))
        F.relu(1 - on_real).mean().backward()
        adam_d.step()
        d_loss = F.relu(1 + on_fake).mean() + F.relu(1 - on_real).mean()
        found.append([v.item() for v in (g_loss, d_loss, on_real.std(), on_fake.std())])
        if update in MARKS or update % 100 == 0 or update == options.updates:
            means = [f"{v:.3g}" for v in np.mean(found, 0)]
            print(
                update, "updates: g_loss {}, d_loss {}, deviation of logits {} real, {} fake".format(*means), flush=True
            )
            found.clear()
    assert torch.isfinite(parameters_to_vector(g_trained)).all()
    with torch.no_grad():
        return drawn(shown)


def _open(trained: list[nn.Parameter], is_open: bool) -> None:
    for parameter in trained:
        parameter.requires_grad_(is_open)


def images_of(source: str) -> Tensor:
    """uint8 (N, 3, 64, 64)."""
    cache: Any = pack(DataConfig(source=source, unconditional=True), SIDE)
    return torch.from_numpy(np.asarray(cache.checked[np.arange(len(cache.checked))])).permute(0, 3, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rival", required=True, help="folder of a checkout of autonomousvision/projected-gan")
    parser.add_argument("--data", required=True)
    parser.add_argument("--networks", choices=("published", "orthogan"), default="published")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=128, help="pixels a side at which features see images")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    real = images_of(options.data)
    code = Published(options.rival, torch.device("cpu"))
    players = published(code, options.size) if options.networks == "published" else own(options.size)
    images = train(code, players, real, options)
    if options.sheet:
        pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
        pictures.grid(pixels, 8).save(options.sheet)


if __name__ == "__main__":
    main()
