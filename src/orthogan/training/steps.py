"""One update of D and one of G: the algorithm and nothing else.

It knows networks, a loss, regularisers and batches. It does not know files, logs, ranks, presets or where data comes
from. Fabric stands for backward passes that are averaged over processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from orthogan.game.losses import Loss
from orthogan.game.regularizers import Regularizer
from orthogan.nn.norm import norm_layers
from orthogan.nn.spectral import advance

Batch = tuple[Tensor, Tensor | None]
"""Images (n, 3, R, R) in [-1, 1], or latents (n, dim_z), with labels (n,) if the networks have classes."""


class NonFiniteError(RuntimeError):
    """A loss or a gradient is not a number; the message names the layer. No weight has been touched by it."""


@dataclass
class Player:
    """A network as Fabric wraps it, the network itself, and its optimiser."""

    wrapped: Any  # Fabric's wrapper: autocast, and gradients averaged over processes
    network: nn.Module
    optimizer: torch.optim.Optimizer

    def finish_update(self, losses: Tensor, rerun: Callable[[], object]) -> Tensor:
        """Step the optimiser if all is finite; returns the norm of the gradient. `rerun` repeats the last forward."""
        grads = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if not torch.isfinite(losses + norm).all():
            raise NonFiniteError(name_culprit(self.network, rerun))
        self.optimizer.step()
        return norm


@dataclass
class Game:
    """The two players and the rules between them.

    `joint_fakes` makes G run over all micro-batches of an update at once, so that its batch norms see all of them;
    its blocks then keep only their inputs and are recomputed in the backward pass.
    """

    fabric: Fabric
    g: Player
    d: Player
    loss: Loss
    g_regularizers: Sequence[Regularizer] = ()
    d_regularizers: Sequence[Regularizer] = ()
    joint_fakes: bool = False

    def update_discriminator(
        self, real: Sequence[Batch], latents: Sequence[Batch], mix: Sequence[Tensor] = ()
    ) -> dict[str, Tensor]:
        """One step of D on micro-batches of real images, of latents, and of uniform numbers for regularisers."""
        self.d.network.requires_grad_(True)
        advance(self.d.network)
        self.d.optimizer.zero_grad(set_to_none=True)
        fakes = [fake for group in self._groups(latents) for fake in self._fakes(group)]
        terms, logits = [], []
        for i, ((x, y), (fake, y_fake)) in enumerate(zip(real, fakes, strict=True)):
            with self.fabric.no_backward_sync(self.d.wrapped, enabled=i + 1 < len(real)):
                on_fake, on_real = self._verdicts((fake, y_fake), (x, y))
                term = self.loss.discriminator(on_real, on_fake).mean()
                penalty = self._penalty((x, y), fake, mix[i]) if self.d_regularizers else 0.0
                self.fabric.backward((term + penalty) / len(real))
            terms.append(term.detach())
            logits.append(torch.stack([on_real.detach().mean(), on_fake.detach().mean()]))
        loss, (d_real, d_fake) = torch.stack(terms).mean(), torch.stack(logits).mean(0)
        for regularizer in self.d_regularizers:
            regularizer.on_grads(self.d.network)
        norm = self.d.finish_update(loss, lambda: (self._judge(fake, y_fake), self._judge(x, y)))
        for regularizer in self.d_regularizers:
            regularizer.on_weights(self.d.network)
        return {"d_loss": loss, "d_real": d_real, "d_fake": d_fake, "d_grad_norm": norm}

    def update_generator(self, latents: Sequence[Batch], real: Sequence[Batch] = ()) -> dict[str, Tensor]:
        """One step of G on micro-batches of latents, with as many of real images if the loss pairs them.

        A micro-batch of latents may be a multiple of its real images: each of these is then paired with as many
        neighbouring fakes, which are in the same process whatever the number of processes.
        """
        # Without gradients of its own, D's backward pass costs half.
        self.d.network.requires_grad_(False)
        advance(self.g.network)
        self.g.optimizer.zero_grad(set_to_none=True)
        groups = self._groups(latents)
        terms = []
        for i, group in enumerate(groups):
            z, y = _join(group)
            with self.fabric.no_backward_sync(self.g.wrapped, enabled=i + 1 < len(groups)):
                fake = self.g.wrapped(z, y)
                # D's graph is walked and freed chunk by chunk; what it says of the images then enters G's once.
                leaf = fake.detach().requires_grad_()
                for k, (x, chunk) in enumerate(zip(leaf.split(len(group[0][0])), group, strict=True)):
                    on_real = self._paired(real[i + k], len(x)) if self.loss.paired else None
                    term = self.loss.generator(self._judge(x, chunk[1]), on_real).mean()
                    self.fabric.backward(term / len(latents))
                    terms.append(term.detach())
                self.fabric.backward(fake, gradient=leaf.grad)
        for regularizer in self.g_regularizers:
            regularizer.on_grads(self.g.network)
        loss = torch.stack(terms).mean()
        norm = self.g.finish_update(loss, lambda: self._judge(self.g.network(z, y), y))
        return {"g_loss": loss, "g_grad_norm": norm}

    def _verdicts(self, fake: Batch, real: Batch) -> Sequence[Tensor]:
        """Logits of both halves, in one forward, unless D has batch norms: statistics of the two must not mix."""
        if norm_layers(self.d.network):
            return self.d.wrapped(*fake), self.d.wrapped(*real)
        logits: Tensor = self.d.wrapped(*_join([fake, real]))
        return logits.chunk(2)

    def _penalty(self, real: Batch, fake: Tensor, mix: Tensor) -> Tensor:
        x, y = real
        # In float32 and outside the wrapper: a penalty is differentiated twice.
        with torch.autocast(x.device.type, enabled=False):
            terms = [r.on_loss(lambda image: self.d.network(image, y), x, fake, mix) for r in self.d_regularizers]
        return torch.stack([torch.as_tensor(term, device=x.device).mean() for term in terms]).sum()

    @torch.no_grad()
    def _paired(self, real: Batch, fakes: int) -> Tensor:
        """Logits of the real images that a pairing loss sets against so many fakes."""
        return self._judge(*real).repeat_interleave(fakes // len(real[0]))

    def _groups(self, latents: Sequence[Batch]) -> list[Sequence[Batch]]:
        """Micro-batches that G runs over together."""
        return [latents] if self.joint_fakes else [[micro] for micro in latents]

    @torch.no_grad()
    def _fakes(self, group: Sequence[Batch]) -> list[Batch]:
        z, y = _join(group)
        with self.fabric.autocast():
            fake = self.g.network(z, y).float()
        return [(x, micro[1]) for x, micro in zip(fake.split(len(group[0][0])), group, strict=True)]

    def _judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """D outside its wrapper, which would wait for gradients that G's update does not make."""
        with self.fabric.autocast():
            return self.d.network(x, y)


def _join(group: Sequence[Batch]) -> Batch:
    labels = [y for _, y in group if y is not None]
    return torch.cat([x for x, _ in group]), torch.cat(labels) if labels else None


def name_culprit(network: nn.Module, rerun: Callable[[], object]) -> str:
    """Say which layer first produced a value that is not finite: its weight, its output, or its gradient."""
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"the parameter {name} of {type(network).__name__} is not finite"
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return hook

    handles = [m.register_forward_hook(watch(name)) for name, m in network.named_modules() if name]
    try:
        with torch.no_grad():
            rerun()
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"the output of layer {found[0]} of {type(network).__name__} is not finite"
    grads = [name for name, p in network.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    # The backward pass comes from the end: the last such parameter is the first that it reached.
    where = f"the gradient of {grads[-1]}" if grads else "the loss"
    return f"{where} of {type(network).__name__} is not finite"
