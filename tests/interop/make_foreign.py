"""Makes the files of `files/`: small checkpoints of other projects, and what their own code makes of some inputs.

    python tests/interop/make_foreign.py PROJECT CHECKOUT

PROJECT is one of the table at the end, CHECKOUT a folder with the project's repository. Weights are random; a few
forwards in training give batch norms their statistics and spectral norms their vectors. Images are kept at every few
pixels.
"""

import contextlib
import gzip
import io
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

FILES = Path(__file__).parent / "files"
EVERY = 4
"""Of the pixels that are kept."""


def stirred(network: nn.Module, seed: int) -> nn.Module:
    """With gains, biases and strengths that are not those of a new network."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim < 2:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.3 * noise if parameter.ndim else 0.7
    # Rounded, so that the files are half as large.
    for tensor in (*network.parameters(), *(b for b in network.buffers() if b.ndim == 2)):
        tensor.data.copy_(tensor.bfloat16())
    return network


def trained(network: nn.Module, forward: Callable[[], object]) -> nn.Module:
    """After a few forwards in training, in evaluation."""
    network.train()
    with torch.no_grad():
        for _ in range(3):
            forward()
    return network.eval()


def keep(name: str, state: object, suffix: str = ".pth", legacy: bool = False) -> None:
    told = io.BytesIO()
    torch.save(state, told, _use_new_zipfile_serialization=not legacy)
    packed(f"{name}{suffix}", told.getvalue())


def packed(name: str, data: bytes) -> None:
    """As a gzip file, because small tensors have long headers."""
    FILES.mkdir(exist_ok=True)
    (FILES / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))


def keep_outputs(name: str, **tensors: Tensor) -> None:
    whole = {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}
    save_file(whole, FILES / f"{name}.io.safetensors")


def thin(images: Tensor) -> Tensor:
    return images[..., ::EVERY, ::EVERY]


def biggan_pytorch(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    import BigGAN
    import BigGANdeep

    common = {"n_classes": 5, "no_optim": True, "SN_eps": 1e-6, "BN_eps": 1e-5, "G_lr": 0.1, "G_B1": 0.0, "G_B2": 0.9}
    shared = {"G_shared": True, "shared_dim": 6, "hier": True}
    cases: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
        "brock64": (BigGAN, shared | {"resolution": 64, "G_ch": 1, "dim_z": 10, "G_attn": "16"}, {"D_attn": "8"}),
        "brock32": (BigGAN, {"resolution": 32, "G_ch": 2, "dim_z": 8, "G_attn": "0", "mybn": True}, {"D_attn": "0"}),
        "brock32flat": (
            BigGAN,
            {"G_shared": True, "shared_dim": 6, "resolution": 32, "G_ch": 2, "dim_z": 8, "G_attn": "0", "BN_eps": 1e-3},
            {},
        ),
        "brockdeep": (BigGANdeep, shared | {"resolution": 32, "G_ch": 4, "dim_z": 8, "G_attn": "16"}, {"D_attn": "0"}),
    }
    for name, (module, of_g, of_d) in cases.items():
        torch.manual_seed(0)
        z, y = torch.randn(4, of_g["dim_z"]), torch.tensor([0, 1, 4, 4])
        g = stirred(module.Generator(**(common | of_g)), 1)
        g = trained(g, lambda g=g, z=z, y=y: g(torch.randn_like(z), g.shared(y)))
        if of_g.get("mybn"):
            # Standing statistics, which this norm keeps as sums.
            for layer in g.modules():
                if hasattr(layer, "accumulate_standing"):
                    layer.reset_stats()
                    layer.accumulate_standing = True
            g = trained(g, lambda g=g, z=z, y=y: g(torch.randn_like(z), g.shared(y)))
        keep(f"{name}.G_ema", g.state_dict(), legacy=True)
        out = {"z": z, "y": y, "images": thin(g(z, g.shared(y)))}
        if of_d:
            r, ch = of_g["resolution"], max(2, of_g["G_ch"])
            d = module.Discriminator(D_ch=ch, resolution=r, n_classes=5, SN_eps=1e-6, **of_d)
            x = squares(2, r)
            d = trained(stirred(d, 2), lambda d=d, x=x, y=y: d(x, y[1:3]))
            keep(f"{name}.D", d.state_dict(), legacy=True)
            out |= {"squares": x[..., ::8, ::8], "x_side": torch.tensor(r), "x_y": y[1:3]}
            out["logits"] = d(x, y[1:3])[:, 0]
        keep_outputs(name, **out)


def huggingface(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    with stubbed("boto3", "requests", "botocore", "botocore.exceptions", "nltk", "nltk.corpus"):
        from pytorch_pretrained_biggan.config import BigGANConfig
        from pytorch_pretrained_biggan.model import BigGAN

    pairs = [(False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2)]
    config = BigGANConfig(
        output_dim=64,
        z_dim=4,
        class_embed_dim=4,
        channel_width=4,
        num_classes=5,
        layers=[*pairs, (True, 2, 1)],
        attention_layer_position=4,
        eps=1e-4,
        n_stats=6,
    )
    torch.manual_seed(0)
    g = BigGAN(config)
    for name, parameter in g.named_parameters():
        if name in ("generator.bn.weight", "generator.bn.bias"):
            nn.init.normal_(parameter, 1.0, 0.2)
    for name, buffer in g.named_buffers():
        if "running_means" in name:
            buffer.normal_(0, 0.2)
        elif "running_vars" in name:
            buffer.uniform_(0.5, 1.5)
    z, y = torch.randn(2, 4), torch.tensor([0, 4])
    one_hot = torch.nn.functional.one_hot(y, 5).float()
    # In training, each forward is an iteration: two leave the vectors far from where they go.
    g = stirred(g, 1).train()
    for _ in range(2):
        g(z, one_hot, 1.0)
    g.eval()
    keep("huggingface.pytorch_model", g.state_dict(), ".bin", legacy=True)
    packed("huggingface.config.json", config.to_json_string().encode())
    # 0.6 / 0.2 is not 3 there, by rounding; these are.
    images = {f"images_{t}": thin(g(z, one_hot, t)) for t in (0.4, 0.8)}
    # Between two of its truncations, the code weighs the rows in reverse: what it should be is their mixture at 0.1.
    for norm in g.modules():
        if hasattr(norm, "running_means"):
            for buffer in (norm.running_means, norm.running_vars):
                buffer[2] = 0.5 * buffer[1] + 0.5 * buffer[2]
    keep_outputs("huggingface", z=z, y=y, **images, mixed=thin(g(z, one_hot, 0.4)))


def studiogan(checkout: Path) -> None:
    sys.path.insert(0, str(checkout / "src"))
    misc = types.ModuleType("utils.misc")
    misc.dummy_context_mgr = contextlib.nullcontext  # type: ignore[attr-defined]
    sys.modules["utils.misc"] = misc
    from models import big_resnet, big_resnet_deep_legacy
    from utils import ops

    modules = types.SimpleNamespace(
        g_bn=ops.ConditionalBatchNorm2d,
        g_conv2d=ops.snconv2d,
        g_linear=ops.snlinear,
        g_act_fn=nn.ReLU(inplace=True),
        d_conv2d=ops.snconv2d,
        d_linear=ops.snlinear,
        d_embedding=ops.sn_embedding,
        d_act_fn=nn.ReLU(inplace=True),
    )
    model = types.SimpleNamespace(info_type="N/A", g_info_injection="N/A")
    both = {"img_size": 32, "num_classes": 5, "mixed_precision": False, "MODULES": modules, "MODEL": model}
    for name, module, width in (("studio", big_resnet, 4), ("studiodeep", big_resnet_deep_legacy, 4)):
        torch.manual_seed(0)
        g = module.Generator(
            z_dim=8, g_shared_dim=6, g_conv_dim=2 if name == "studio" else 4, apply_attn=True, attn_g_loc=[2],
            g_cond_mtd="cBN", g_init="ortho", g_depth=2, **both,
        )  # fmt: skip
        d = module.Discriminator(
            d_conv_dim=width, apply_d_sn=True, apply_attn=True, attn_d_loc=[1], d_cond_mtd="PD", aux_cls_type="W/O",
            d_embed_dim=6, normalize_d_embed=False, d_init="ortho", d_depth=2, **both,
        )  # fmt: skip
        z, y, x = torch.randn(4, 8), torch.tensor([0, 1, 4, 4]), squares(2, 32)
        g = trained(stirred(g, 1), lambda g=g, z=z, y=y: g(torch.randn_like(z), y))
        d = trained(stirred(d, 2), lambda d=d, x=x, y=y: d(x.clone(), y[1:3]))
        beside = {
            "seed": 1,
            "step": 3,
            "run_name": "x",
            "best_fid": None,
            "optimizer": {"state": {}, "param_groups": []},
        }
        for role, network in (("G_ema", g), ("D", d)):
            keep(
                f"{name}.model={role}-best-weights-step=3",
                beside | {"state_dict": network.state_dict()},
                legacy=name == "studiodeep",
            )
        logits = d(x.clone(), y[1:3])["adv_output"]
        keep_outputs(name, z=z, y=y, images=thin(g(z, y)), squares=x[..., ::8, ::8], x_side=torch.tensor(32),
                     x_y=y[1:3], logits=logits)  # fmt: skip


def squares(n: int, side: int) -> Tensor:
    """Images of 8x8 squares of one colour."""
    small = torch.rand(n, 3, side // 8, side // 8).sub(0.5).mul(64).round().div(32)
    return small.repeat_interleave(8, 2).repeat_interleave(8, 3)


def mimicry(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    package = types.ModuleType("torch_mimicry")
    package.__path__ = [str(checkout / "torch_mimicry")]
    sys.modules["torch_mimicry"] = package
    # The packages themselves import metrics in TensorFlow.
    for part in ("nets", "training", "utils"):
        module = types.ModuleType(f"torch_mimicry.{part}")
        module.__path__ = [str(checkout / "torch_mimicry" / part)]
        sys.modules[f"torch_mimicry.{part}"] = module
    from torch_mimicry.nets.cgan_pd.cgan_pd_32 import CGANPDDiscriminator32, CGANPDGenerator32
    from torch_mimicry.nets.sagan.sagan_32 import SAGANDiscriminator32, SAGANGenerator32
    from torch_mimicry.nets.sngan.sngan_48 import SNGANDiscriminator48, SNGANGenerator48

    cases: dict[str, tuple[Any, Any, int, bool]] = {
        "mimicrycgan": (CGANPDGenerator32, CGANPDDiscriminator32, 32, True),
        "mimicrysagan": (SAGANGenerator32, SAGANDiscriminator32, 32, True),
        "mimicrysngan": (SNGANGenerator48, SNGANDiscriminator48, 48, False),
    }
    for name, (of_g, of_d, side, classes) in cases.items():
        torch.manual_seed(0)
        some = {"num_classes": 5} if classes else {}
        g, d = of_g(nz=8, ngf=8 if classes else 16, **some), of_d(ndf=8 if classes else 16, **some)
        z, y, x = torch.randn(4, 8), torch.tensor([0, 1, 4, 4]), squares(2, side)
        labels, two = ((y,), (y[1:3],)) if classes else ((), ())
        g = trained(stirred(g, 1), lambda g=g, z=z, labels=labels: g(torch.randn_like(z), *labels))
        d = trained(stirred(d, 2), lambda d=d, x=x, two=two: d(x.clone(), *two))
        for role, network in (("G", g), ("D", d)):
            state = {"model_state_dict": network.state_dict(), "optimizer_state_dict": {}, "global_step": 3}
            keep(f"{name}.net{role}_3_steps", state)
        logits = d(x.clone(), *two)[:, 0]
        out = {"z": z, "images": thin(g(z, *labels)), "squares": x[..., ::8, ::8], "x_side": torch.tensor(side)}
        keep_outputs(name, **out, logits=logits, **({"y": y, "x_y": y[1:3]} if classes else {}))


def projected_gan(checkout: Path) -> None:
    """FastGAN alone, whose files are under the MIT licence."""
    sys.path.insert(0, str(checkout))
    from pg_modules import blocks
    from pg_modules.networks_fastgan import Generator

    cases: dict[str, dict[str, Any]] = {
        "projected": {},
        "projectedlite": {"synthesis_kwargs": {"lite": True}},
        "projectedcond": {"cond": 1, "synthesis_kwargs": {"num_classes": 5}},
    }
    for name, how in cases.items():
        torch.manual_seed(0)
        g = stirred(Generator(z_dim=4, img_resolution=128, ngf=2, **how), 1)
        z, c = torch.randn(2, 4), torch.eye(5)[[0, 4]]
        g = trained(g, lambda g=g, z=z, c=c: g(torch.randn_like(z), c))
        # A snapshot has the object itself, pickled by reference.
        if name == "projected":
            keep_pickle(name, g)
        else:
            keep(f"{name}.G_ema", g.state_dict())
        blocks.NoiseInjection.forward = lambda self, feat, noise=None: feat
        out = {"z": z, "images": g(z, c)[..., ::16, ::16]}
        keep_outputs(name, **out, **({"y": torch.tensor([0, 4])} if "cond" in how else {}))


def keep_pickle(name: str, g: nn.Module) -> None:
    told = io.BytesIO()
    pickle.dump({"G": None, "D": None, "G_ema": g, "training_set_kwargs": {"path": "x.zip"}}, told, protocol=4)
    packed(f"{name}.network-snapshot-000001.pkl", told.getvalue())


@contextlib.contextmanager
def stubbed(*names: str) -> Iterator[None]:
    """With empty modules by these names, for packages that the code imports and does not need here."""
    for name in names:
        module = types.ModuleType(name)
        module.__getattr__ = lambda attribute: type(attribute, (Exception,), {})  # type: ignore[method-assign]
        sys.modules.setdefault(name, module)
    yield


PROJECTS: dict[str, Callable[[Path], None]] = {
    "biggan_pytorch": biggan_pytorch,  # github.com/ajbrock/BigGAN-PyTorch
    "huggingface": huggingface,  # github.com/huggingface/pytorch-pretrained-BigGAN
    "studiogan": studiogan,  # github.com/POSTECH-CVLab/PyTorch-StudioGAN
    "mimicry": mimicry,  # torch_mimicry 0.1.16, github.com/kwotsin/mimicry
    "projected_gan": projected_gan,  # github.com/autonomousvision/projected-gan
}

if __name__ == "__main__":
    with torch.no_grad():
        PROJECTS[sys.argv[1]](Path(sys.argv[2]))
