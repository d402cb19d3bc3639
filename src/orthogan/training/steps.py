"""One update of D and one of G: the algorithm and nothing else.

It knows networks, a loss, rules and batches. It does not know files, logs, ranks, presets or where data comes from.
Fabric stands for backward passes that are averaged over processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from orthogan.game.augment.base import Augment
from orthogan.game.losses import Loss
from orthogan.game.moment import Moment
from orthogan.nn.apart import apart
from orthogan.training.player import Player

Batch = tuple[Tensor, Tensor | None]
"""Images (n, 3, R, R) in [-1, 1], or latents (n, dim_z), with labels (n,) if the networks have classes."""
Stats = dict[str, Tensor]
"""Scalars on the device, the same in all processes."""


@dataclass(frozen=True)
class Numbers:
    """What chance decides of a micro-batch: numbers in [0, 1), a row an image."""

    rules: Tensor
    """(n,), for the rules of the player that is updated."""
    real: Tensor
    """(n, K), for the augmentation of the real images, which needs K of them an image."""
    fake: Tensor
    """(m, K), for that of the fakes."""
    drop_real: Tensor | None = None
    """Keys (n,) of drop-out in D on the real images; None without it."""
    drop_fake: Tensor | None = None
    """Keys (m,), on the fakes."""


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
    joint_fakes: bool = False
    augment: Augment | None = None
    """What D's images go through, real and fake ones."""

    def update_discriminator(
        self, real: Sequence[Batch], latents: Sequence[Batch], numbers: Sequence[Numbers], update: int = 0
    ) -> Stats:
        """Update number `update` of D, on micro-batches of real images, of latents, and of numbers."""
        self.d.begin_update()
        fakes = [fake for group in self._groups(latents) for fake in self._fakes(group)]
        found = []
        for i, ((x, y), (fake, fake_y)) in enumerate(zip(real, fakes, strict=True)):
            with self.fabric.no_backward_sync(self.d.wrapped, enabled=i + 1 < len(real)):
                on_real, on_fake = self._verdicts((x, y), (fake, fake_y), numbers[i])
                term = self.loss.discriminator(on_real, on_fake).mean()
                moment = self._moment((x, y), (fake, fake_y), latents[i], numbers[i], (on_real, on_fake))
                self.fabric.backward((term + self._penalties(self.d, moment, update)) / len(real))
            saturated = ((on_real > 1).float().mean() + (on_fake < -1).float().mean()) / 2
            signs = (on_real - (self.loss.boundary or 0)).sign()
            found.append(torch.stack([term, on_real.mean(), on_fake.mean(), saturated, signs.mean()]).detach())
        self.d.rerun = lambda: (
            self._judge(x, y, numbers[-1].drop_real),
            self._judge(fake, fake_y, numbers[-1].drop_fake),
        )
        loss, d_real, d_fake, saturated, signs = self._mean(found)
        norm = self.d.finish_update(loss)
        stats = {"d_loss": loss, "d_real": d_real, "d_fake": d_fake, "d_saturated": saturated, "d_grad_norm": norm}
        return stats | self._adapt(signs, real)

    def update_generator(
        self, real: Sequence[Batch], latents: Sequence[Batch], numbers: Sequence[Numbers], update: int = 0
    ) -> Stats:
        """Update number `update` of G, on micro-batches of real images, which a loss may pair fakes with, and latents.

        A micro-batch of latents may be a multiple of its real images: each of these is then paired with as many
        neighbouring fakes, which are in the same process whatever the number of processes.
        """
        self.d.open(False)
        self.g.begin_update()
        found = []
        groups = self._groups(latents)
        for i, group in enumerate(groups):
            z, y = _join(group)
            with self.fabric.no_backward_sync(self.g.wrapped, enabled=i + 1 < len(groups)):
                fake = self.g.wrapped(z, y)
                # D's graph is walked and freed chunk by chunk; what it says of the images then enters G's once.
                leaf = fake.detach().requires_grad_()
                penalty: Tensor | float = 0.0
                size = len(group[0][0])
                for k, (x, attached, micro) in enumerate(zip(leaf.split(size), fake.split(size), group, strict=True)):
                    on_real = self._paired(real[i + k], numbers[i + k], len(x)) if self.loss.paired else None
                    seen = self._augmented(x, numbers[i + k].fake)
                    on_fake = self._judge(seen, micro[1], numbers[i + k].drop_fake)
                    term = self.loss.generator(on_real, on_fake).mean()
                    self.fabric.backward(term / len(latents))
                    found.append(term.detach()[None])
                    moment = self._moment(real[i + k], (attached, micro[1]), micro, numbers[i + k])
                    penalty = penalty + self._penalties(self.g, moment, update) / len(latents)
                self._enter(fake, leaf.grad, penalty)
        self.g.rerun = lambda: self._judge(self.g.network(z, y), y, None)
        (loss,) = self._mean(found)
        return {"g_loss": loss, "g_grad_norm": self.g.finish_update(loss)}

    def _enter(self, fake: Tensor, gradient: Tensor | None, penalty: Tensor | float) -> None:
        """The gradient of the images into G's graph, in one backward pass with that of G's rules."""
        assert gradient is not None
        if isinstance(penalty, Tensor):
            self.fabric.backward((fake * gradient).sum() + penalty)
        else:
            self.fabric.backward(fake, gradient=gradient)

    def _verdicts(self, real: Batch, fake: Batch, numbers: Numbers) -> Sequence[Tensor]:
        """Logits of both halves, in one forward in which they do not act on one another."""
        real = self._augmented(real[0], numbers.real), real[1]
        fake = self._augmented(fake[0], numbers.fake), fake[1]
        with apart(self.d.network, 2):
            logits: Tensor = self.d.wrapped(*_join([real, fake]), *_given(numbers.drop_real, numbers.drop_fake))
        return logits.chunk(2)

    def _moment(
        self, real: Batch, fake: Batch, latents: Batch, numbers: Numbers, logits: Sequence[Tensor] | None = None
    ) -> Moment:
        augment = partial(self._augmented, uniform=numbers.real)
        # Rules ask D about as many images as there are real ones, under the drop-out of these.
        judge = self.d.network if numbers.drop_real is None else partial(self.d.network, keys=numbers.drop_real)
        return Moment(
            generator=self.g.network,
            discriminator=judge,
            real=real[0],
            real_labels=real[1],
            fake=fake[0],
            fake_labels=fake[1],
            z=latents[0],
            uniform=numbers.rules,
            augment=augment,
            logits=logits,
        )

    def _penalties(self, player: Player, moment: Moment, update: int) -> Tensor | float:
        """The sum of what a player's rules add to its loss in this update; 0 where none adds anything."""
        terms = []
        for rule in player.rules.values():
            if update % rule.interval == 0:
                # What is differentiated twice is in float32, and without fused attention, which cannot be.
                full = torch.autocast(moment.fake.device.type, enabled=False)
                with full if rule.in_float32 else self.fabric.autocast(), sdpa_kernel(SDPBackend.MATH):
                    terms.append(rule.on_loss(moment))
        means = [term.mean() for term in terms if isinstance(term, Tensor)]
        return torch.stack(means).sum() if means else 0.0

    def _augmented(self, images: Tensor, uniform: Tensor) -> Tensor:
        return images if self.augment is None else self.augment(images, uniform)

    def _adapt(self, signs: Tensor, real: Sequence[Batch]) -> Stats:
        """The augmentation follows what D says of the real images of this update."""
        if self.augment is None:
            return {}
        self.augment.after_update(signs, sum(len(x) for x, _ in real) * self.fabric.world_size)
        return self.augment.stats()

    def _mean(self, found: list[Tensor]) -> tuple[Tensor, ...]:
        """Means over micro-batches and processes."""
        mean: Tensor = self.fabric.all_reduce(torch.stack(found).mean(0))  # type: ignore[assignment]
        return mean.unbind()

    @torch.no_grad()
    def _paired(self, real: Batch, numbers: Numbers, fakes: int) -> Tensor:
        """Logits of the real images that a pairing loss sets against so many fakes."""
        x, y = real
        logits = self._judge(self._augmented(x, numbers.real), y, numbers.drop_real)
        return logits.repeat_interleave(fakes // len(x), dim=0)

    def _groups(self, latents: Sequence[Batch]) -> list[Sequence[Batch]]:
        """Micro-batches that G runs over together."""
        return [latents] if self.joint_fakes else [[micro] for micro in latents]

    @torch.no_grad()
    def _fakes(self, group: Sequence[Batch]) -> list[Batch]:
        z, y = _join(group)
        with self.fabric.autocast():
            fake = self.g.network(z, y).float()
        return [(x, micro[1]) for x, micro in zip(fake.split(len(group[0][0])), group, strict=True)]

    def _judge(self, x: Tensor, y: Tensor | None, keys: Tensor | None) -> Tensor:
        """D outside its wrapper, which would wait for gradients that G's update does not make."""
        with self.fabric.autocast():
            return self.d.network(x, y, *_given(keys))


def _given(*keys: Tensor | None) -> tuple[Tensor, ...]:
    """The keys of drop-out as one further argument of D, and none for one that has no drop-out."""
    there = [key for key in keys if key is not None]
    return (torch.cat(there),) if there else ()


def _join(group: Sequence[Batch]) -> Batch:
    labels = [y for _, y in group if y is not None]
    return torch.cat([x for x, _ in group]), torch.cat(labels) if labels else None
