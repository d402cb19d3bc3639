"""The networks that are recognised, by modules that only they have: a table, and the words for what is refused."""

from collections.abc import Callable
from dataclasses import dataclass

from orthogan.interop import biggan_pytorch, huggingface, mimicry, projected_gan, studiogan, stylegan2
from orthogan.interop.foreign import Foreign, Hints, NotImportable, Part, finished


@dataclass(frozen=True)
class Kind:
    """A network of a project."""

    title: str
    marks: tuple[str, ...]
    """Modules or tensors that are all there."""
    read: Callable[[Foreign, Hints], Part] | None
    """None of a network that is known, and not imported."""
    instead: str = ""
    """What to do, then."""


G_ALONE = "give the generator alone; a discriminator then begins afresh"
KINDS = (
    Kind("pytorch-pretrained-BigGAN's generator", ("generator.gen_z", "generator.conv_to_rgb"), huggingface.generator),
    Kind("BigGAN-PyTorch's deep generator", ("output_layer.2", "blocks.0.0.conv4"), biggan_pytorch.deep_generator),
    Kind("BigGAN-PyTorch's generator", ("output_layer.2", "blocks.0.0.conv_sc"), biggan_pytorch.generator),
    Kind("BigGAN-PyTorch's deep discriminator", ("input_conv", "embed", "linear"), biggan_pytorch.deep_discriminator),
    Kind("BigGAN-PyTorch's discriminator", ("embed", "linear", "blocks.0.0.conv_sc"), biggan_pytorch.discriminator),
    Kind("StudioGAN's deep generator", ("linear0", "conv2d5", "blocks.0.0.conv2d4"), studiogan.deep_generator),
    Kind("StudioGAN's generator", ("linear0", "conv2d5", "blocks.0.0.conv2d2"), studiogan.generator),
    Kind("StudioGAN's deep discriminator", ("linear1", "input_conv", "blocks.0.0"), studiogan.deep_discriminator),
    Kind("StudioGAN's discriminator", ("linear1", "blocks.0.0.conv2d2"), studiogan.discriminator),
    Kind("mimicry's generator", ("l1", "block2.c1", "block2.b1"), mimicry.generator),
    Kind("mimicry's discriminator", ("block1.c1", "block1.c_sc", "block2.c1"), mimicry.discriminator),
    Kind("Projected GAN's FastGAN", ("synthesis.init.init", "synthesis.to_big"), projected_gan.generator),
    Kind(
        "Projected GAN's discriminator",
        ("feature_network", "discriminator.mini_discs"),
        None,
        "its features were made by another version of timm; " + G_ALONE,
    ),
    Kind("StyleGAN2-ADA's generator", ("synthesis.b4.const", "mapping.w_avg"), stylegan2.generator),
    Kind("StyleGAN2-ADA's discriminator", ("b4.fc", "b4.out", "b4.conv"), stylegan2.discriminator),
    Kind("StyleGAN3's generator", ("synthesis.input",), None, "there is no such network here"),
)
KNOWN = "BigGAN-PyTorch, pytorch-pretrained-BigGAN, StudioGAN, mimicry, Projected GAN and StyleGAN2-ADA"


def recognized(foreign: Foreign) -> Kind:
    """The kind of network that has such tensors. Raises `UserError` if there is none."""
    for kind in KINDS:
        if all(mark in foreign or foreign.has(mark) for mark in kind.marks):
            return kind
    first = ", ".join(sorted(foreign.tensors)[:3]) or "none at all"
    raise NotImportable(f"{foreign.where} has tensors of no known network ({first} ...); known are {KNOWN}")


def convert(foreign: Foreign, hints: Hints) -> tuple[str, Part]:
    """What a foreign network is called, and ours that is made of it. Raises `UserError`."""
    kind = recognized(foreign)
    read = kind.read
    if read is None:
        raise foreign.refuse(f"{kind.title} is not imported: {kind.instead}")
    return kind.title, finished(foreign, lambda: read(foreign, hints))
