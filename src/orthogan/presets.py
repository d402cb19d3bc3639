"""Named runs: functions that return a whole configuration, derived from one another.

Sources: P the paper (Brock et al. 2019), A BigGAN-PyTorch's launch scripts, M SN-GAN's released code (Miyato et al.).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orthogan.config import (
    CadenceConfig,
    DataConfig,
    EmaConfig,
    OptimizerConfig,
    RegularizerConfig,
    RunConfig,
    override,
)
from orthogan.errors import unknown
from orthogan.networks.biggan import BigGANConfig
from orthogan.networks.biggan_deep import BigGANDeepConfig
from orthogan.networks.sngan import SNGANCNNConfig, SNGANConfig

Run = RunConfig[Any]


def digits() -> Run:
    """A small BigGAN that draws the MNIST digits after minutes on a processor."""
    return RunConfig(
        network=BigGANConfig(
            resolution=32,
            n_classes=10,
            width=16,
            g_channels=(8, 8, 4, 2),
            d_channels=(2, 4, 8, 8),
            d_downs=2,
            dim_z=64,
        ),
        data=DataConfig(source="digits"),
        optimizer=OptimizerConfig(g_lr=4e-4, d_lr=4e-4, beta1=0.0, beta2=0.99),
        ema=EmaConfig(decay=0.99),
        cadence=CadenceConfig(log_images=1_000, sheet_images=8_000, checkpoint_images=8_000),
        images=24_000,
        batch=32,
        d_steps=1,
    )


def small_32() -> Run:
    """A small BigGAN at 32 px for a folder of one's own, with or without classes, on a processor: ours."""
    return override(
        digits(),
        {
            "network.n_classes": 0,
            "data.source": "",
            "ema.decay": 0.995,
            "cadence.log_images": 2_000,
            "cadence.sheet_images": 16_000,
            "cadence.checkpoint_images": 16_000,
            "images": 160_000,
        },
    )


def small_64() -> Run:
    """A small BigGAN at 64 px for a folder of one's own, with or without classes, on a processor or a GPU: ours."""
    return override(
        small_32(),
        {
            "network.resolution": 64,
            "network.g_channels": (8, 8, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 8, 8),
            "network.d_downs": 4,
            "network.dim_z": 80,
        },
    )


def biggan_128() -> Run:
    """BigGAN at 128 px, last of its kind in the paper's Table 1 (ch 96, batch 2048): P; the average starts as in A."""
    return RunConfig(
        network=BigGANConfig(resolution=128, n_classes=1000, g_attention=64, d_attention=64),
        optimizer=OptimizerConfig(g_lr=5e-5, d_lr=2e-4, beta1=0.0, beta2=0.999),
        regularizers=RegularizerConfig(g_ortho=1e-4),
        ema=EmaConfig(decay=0.9999, start_steps=20_000),
        cadence=CadenceConfig(log_images=40_960, sheet_images=2_048_000, checkpoint_images=2_048_000),
        images=165_000 * 2 * 2048,
        batch=2048,
    )


def biggan_256() -> Run:
    """BigGAN at 256 px: one more block at 16 px in each network, attention of G at 128 px: P."""
    return override(
        biggan_128(),
        {
            "network.resolution": 256,
            "network.g_channels": (16, 16, 8, 8, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 8, 8, 16, 16),
            "network.d_downs": 6,
            "network.g_attention": 128,
            "network.dim_z": 140,
        },
    )


def biggan_512() -> Run:
    """BigGAN at 512 px with the paper's z of 160 dimensions, attention at 64 px in both networks: P."""
    return override(
        biggan_256(),
        {
            "network.resolution": 512,
            "network.g_channels": (16, 16, 8, 8, 4, 2, 1, 1),
            "network.d_channels": (1, 1, 2, 4, 8, 8, 16, 16),
            "network.d_downs": 7,
            "network.g_attention": 64,
            "network.dim_z": 160,
        },
    )


def biggan_512_released() -> Run:
    """BigGAN at 512 px with the z of 128 dimensions that the released weights have."""
    return override(biggan_512(), {"network.dim_z": 128})


def biggan_64() -> Run:
    """BigGAN at 64 px as BigGAN-PyTorch builds it, with the 128 px run's settings: A."""
    return override(
        biggan_128(),
        {
            "network.resolution": 64,
            "network.g_channels": (16, 16, 8, 4, 2),
            "network.d_channels": (1, 2, 4, 8, 16),
            "network.d_downs": 4,
            "network.d_attention": 32,
        },
    )


def biggan_32() -> Run:
    """BigGAN for CIFAR-10 as BigGAN-PyTorch's script trains it (batch 50, 4 D steps, no shared embedding): A."""
    return RunConfig(
        network=BigGANConfig(
            resolution=32,
            n_classes=10,
            width=64,
            g_channels=(4, 4, 4, 4),
            d_channels=(4, 4, 4, 4),
            d_downs=2,
            dim_z=128,
            skip_z=False,
            shared_embedding=False,
            bn_eps=1e-5,
            sn_eps=1e-8,
            init="normal",
        ),
        optimizer=OptimizerConfig(g_lr=2e-4, d_lr=2e-4, beta1=0.0, beta2=0.999),
        ema=EmaConfig(decay=0.9999, start_steps=1_000),
        images=125_000 * 4 * 50,
        batch=50,
        d_steps=4,
    )


def biggan_32_studiogan() -> Run:
    """BigGAN for CIFAR-10 as StudioGAN builds it: ch 96, split z, attention at 16 px, a narrower D."""
    return override(
        biggan_32(),
        {
            "network.width": 96,
            "network.d_channels": (2, 2, 2, 2),
            "network.g_attention": 16,
            "network.d_attention": 16,
            "network.dim_z": 80,
            "network.skip_z": True,
            "network.shared_embedding": True,
            "network.init": "orthogonal",
            "network.sn_eps": 1e-6,
            "network.bn_eps": 1e-4,
            "data.mirror": True,
            "optimizer.beta1": 0.5,
            "batch": 64,
            "d_steps": 5,
            "images": 100_000 * 5 * 64,
        },
    )


def biggan_128_accumulated() -> Run:
    """BigGAN at 128 px for 8 GPUs as BigGAN-PyTorch ran it: batch 256 x 8 micro-batches, 1 D step: A."""
    return override(
        biggan_128(),
        {
            "accumulate": 8,
            "d_steps": 1,
            "optimizer.g_lr": 1e-4,
            "optimizer.d_lr": 4e-4,
            "optimizer.eps": 1e-6,
            "network.sn_eps": 1e-6,
            "network.bn_eps": 1e-5,
            "regularizers.g_ortho": 0.0,
            "images": 138_000 * 2048,
        },
    )


def biggan_deep_128() -> Run:
    """BigGAN-deep at 128 px: P."""
    return replace(
        biggan_128(), network=BigGANDeepConfig(resolution=128, n_classes=1000, g_attention=64, d_attention=64)
    )


def biggan_deep_256() -> Run:
    """BigGAN-deep at 256 px, both learning rates 2.5e-5: P."""
    return override(
        biggan_deep_128(),
        {
            "network.resolution": 256,
            "network.g_channels": (16, 16, 8, 8, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 8, 8, 16, 16),
            "optimizer.g_lr": 2.5e-5,
            "optimizer.d_lr": 2.5e-5,
        },
    )


def biggan_deep_512() -> Run:
    """BigGAN-deep at 512 px: P."""
    return override(
        biggan_deep_256(),
        {
            "network.resolution": 512,
            "network.g_channels": (16, 16, 8, 8, 4, 2, 1, 1),
            "network.d_channels": (1, 1, 2, 4, 8, 8, 16, 16),
        },
    )


def biggan_deep_64() -> Run:
    """BigGAN-deep at 64 px with the blocks of compare_gan, without attention; settings of 128 px."""
    return override(
        biggan_deep_128(),
        {
            "network.resolution": 64,
            "network.g_channels": (16, 16, 8, 4, 2),
            "network.d_channels": (2, 4, 8, 16, 16),
            "network.g_attention": 0,
            "network.d_attention": 0,
        },
    )


def biggan_deep_32() -> Run:
    """BigGAN-deep at 32 px, G of 4 ch and D of 2 ch throughout as in compare_gan (which has half a stage more)."""
    return override(
        biggan_deep_64(),
        {
            "network.resolution": 32,
            "network.n_classes": 10,
            "network.g_channels": (4, 4, 4, 4),
            "network.d_channels": (2, 2, 2, 2),
        },
    )


def sagan_128() -> Run:
    """SAGAN (Zhang et al. 2019): ch 64, per-class tables, attention at 32 px as released; the paper also has 64."""
    return RunConfig(
        network=BigGANConfig(
            resolution=128,
            n_classes=1000,
            width=64,
            g_attention=32,
            d_attention=32,
            dim_z=128,
            skip_z=False,
            shared_embedding=False,
            bn_eps=1e-5,
            sn_eps=1e-8,
            init="xavier",
        ),
        optimizer=OptimizerConfig(g_lr=1e-4, d_lr=4e-4, beta1=0.0, beta2=0.9),
        ema=EmaConfig(decay=0.0),
        images=1_000_000 * 256,
        batch=256,
        d_steps=1,
    )


def sngan_32() -> Run:
    """SN-GAN's residual networks for CIFAR-10 as its released code trains them, hinge loss, 5 D steps: M."""
    return RunConfig(
        network=SNGANConfig(
            resolution=32,
            n_classes=10,
            g_channels=(4, 4, 4, 4),
            d_channels=(2, 2, 2, 2),
            d_downs=2,
            head_bias=False,
        ),
        data=DataConfig(dequantize=True),
        optimizer=OptimizerConfig(g_lr=2e-4, d_lr=2e-4, beta1=0.0, beta2=0.9, decay_from_images=0),
        ema=EmaConfig(decay=0.0),
        images=50_000 * 5 * 64,
        batch=64,
        d_steps=5,
        g_batches=2,
    )


def sngan_48() -> Run:
    """SN-GAN's residual networks for STL-10 at 48 px, without classes: M."""
    return override(
        sngan_32(),
        {
            "network.resolution": 48,
            "network.n_classes": 0,
            "network.g_channels": (8, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 8, 16),
            "network.d_downs": 4,
            "network.head_bias": True,
        },
    )


def sngan_64() -> Run:
    """SN-GAN with projection at 64 px on ImageNet: M."""
    return override(
        sngan_32(),
        {
            "network.resolution": 64,
            "network.n_classes": 1000,
            "network.g_channels": (16, 8, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 8, 16),
            "network.d_downs": 5,
            "network.head_bias": True,
            "images": 250_000 * 5 * 64,
            "optimizer.decay_from_images": 200_000 * 5 * 64,
            "g_batches": 1,
        },
    )


def sngan_128() -> Run:
    """SN-GAN with projection at 128 px on ImageNet, the batch of four GPUs: M."""
    return override(
        sngan_64(),
        {
            "network.resolution": 128,
            "network.g_channels": (16, 16, 8, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 8, 16, 16),
            "images": 450_000 * 5 * 64,
            "optimizer.decay_from_images": 400_000 * 5 * 64,
            "g_batches": 2,
        },
    )


def sngan_128_small() -> Run:
    """The smaller networks of the dog and cat runs at 128 px (143 classes, one GPU's batch of 16): M."""
    return override(
        sngan_128(),
        {
            "network.n_classes": 143,
            "network.g_channels": (8, 8, 4, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 4, 8, 8),
            "batch": 16,
            "images": 450_000 * 5 * 16,
            "optimizer.decay_from_images": 400_000 * 5 * 16,
        },
    )


def sngan_256() -> Run:
    """The dog and cat runs at 256 px (143 classes, one GPU's batch of 8): M."""
    return override(
        sngan_128_small(),
        {
            "network.resolution": 256,
            "network.width": 32,
            "network.g_channels": (16, 16, 8, 8, 4, 2, 1),
            "network.d_channels": (1, 2, 4, 8, 8, 16, 16),
            "network.d_downs": 6,
            "batch": 8,
            "images": 450_000 * 5 * 8,
            "optimizer.decay_from_images": 400_000 * 5 * 8,
        },
    )


def sngan_cnn_32() -> Run:
    """SN-GAN's plain networks at 32 px, setting C of its table 1, non-saturating loss, no classes: M."""
    return RunConfig(
        network=SNGANCNNConfig(resolution=32),
        optimizer=OptimizerConfig(g_lr=2e-4, d_lr=2e-4, beta1=0.5, beta2=0.999),
        ema=EmaConfig(decay=0.0),
        loss="non-saturating",
        images=100_000 * 64,
        batch=64,
        d_steps=1,
    )


def sngan_cnn_48() -> Run:
    """SN-GAN's plain networks at 48 px: M."""
    return override(sngan_cnn_32(), {"network.resolution": 48})


def _table1(batch: int, iterations: int, **network: Any) -> Callable[[], Run]:
    """A row of BigGAN's Table 1 without orthogonal regularisation; z has 128 dimensions where it is not split."""

    def preset() -> Run:
        changes: dict[str, Any] = {f"network.{k}": v for k, v in network.items()}
        run = override(biggan_128(), {**changes, "regularizers.g_ortho": 0.0, "batch": batch})
        return replace(run, images=iterations * run.images_per_step)

    return preset


_PLAIN = {"shared_embedding": False, "skip_z": False, "dim_z": 128}

PRESETS: dict[str, Callable[[], Run]] = {
    "digits": digits,
    "small-32": small_32,
    "small-64": small_64,
    "biggan-32": biggan_32,
    "biggan-32-studiogan": biggan_32_studiogan,
    "biggan-64": biggan_64,
    "biggan-128": biggan_128,
    "biggan-128-accumulated": biggan_128_accumulated,
    "biggan-256": biggan_256,
    "biggan-512": biggan_512,
    "biggan-512-released": biggan_512_released,
    "biggan-deep-32": biggan_deep_32,
    "biggan-deep-64": biggan_deep_64,
    "biggan-deep-128": biggan_deep_128,
    "biggan-deep-256": biggan_deep_256,
    "biggan-deep-512": biggan_deep_512,
    "sagan-128": sagan_128,
    "sngan-cnn-32": sngan_cnn_32,
    "sngan-cnn-48": sngan_cnn_48,
    "sngan-32": sngan_32,
    "sngan-48": sngan_48,
    "sngan-64": sngan_64,
    "sngan-128": sngan_128,
    "sngan-128-small": sngan_128_small,
    "sngan-256": sngan_256,
    # BigGAN's Table 1, from the second row down; its last but one is biggan-128 itself.
    "table1-512": _table1(512, 1_000_000, width=64, **_PLAIN),
    "table1-1024": _table1(1024, 1_000_000, width=64, **_PLAIN),
    "table1-2048": _table1(2048, 732_000, width=64, **_PLAIN),
    "table1-wide": _table1(2048, 295_000, **_PLAIN),
    "table1-shared": _table1(2048, 185_000, skip_z=False, dim_z=128),
    "table1-skip-z": _table1(2048, 152_000),
    "table1-ortho": biggan_128,
    "table1-ch64": lambda: override(biggan_128(), {"network.width": 64, "images": 371_000 * 2 * 2048}),
}


def describe(name: str) -> str:
    """One line on a preset."""
    if name.startswith("table1-"):
        run = get(name)
        switches = {
            "shared embedding": run.network.shared_embedding,
            "split z": run.network.skip_z,
            "orthogonal regularisation": run.regularizers.g_ortho > 0,
        }
        on = [switch for switch, value in switches.items() if value]
        return (
            f"Row of BigGAN's Table 1: batch {run.batch}, ch {run.network.width}, {', '.join(on) or 'nothing added'}."
        )
    return (PRESETS[name].__doc__ or "").strip().splitlines()[0]


def get(name: str) -> Run:
    """The configuration of a preset. An unknown name is an error that offers the nearest one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]()
