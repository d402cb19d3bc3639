"""The loop of a run: batches in, updates, and what is due at which number of images."""

import dataclasses
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock
from lightning_fabric import Fabric
from torch import Tensor, nn

from orthogan.config import RunConfig
from orthogan.data import BatchStream, ImageCache, pack
from orthogan.errors import UserError
from orthogan.files import aside
from orthogan.game import regularizers
from orthogan.game.latents import sample_latents, uniform_classes
from orthogan.game.losses import LOSSES
from orthogan.metrics.evaluate import Scorer
from orthogan.networks import build_discriminator, build_generator
from orthogan.randomness import draw
from orthogan.sampling import STANDING_BATCHES, class_sheet, snapshot
from orthogan.training import checkpoint
from orthogan.training.cadence import due
from orthogan.training.ema import Ema
from orthogan.training.logs import RunLog
from orthogan.training.observer import Observer
from orthogan.training.steps import Batch, Game, NonFiniteError, Player


def build_networks(config: RunConfig[Any]) -> tuple[nn.Module, nn.Module]:
    """G and D with the initial weights of the seed, the same in every process, drawn on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(config.seed, "weights", 0).initial_seed())
        return build_generator(config.network), build_discriminator(config.network)


class Trainer:
    """A run in a folder: built from its configuration, continued from its newest checkpoint if there is one."""

    def __init__(
        self,
        config: RunConfig[Any],
        cache: ImageCache,
        folder: Path,
        fabric: Fabric,
        observer: Observer,
        preset: str = "",
        lock: BaseFileLock | None = None,
    ):
        """`preset` is the name that the run began from; `lock`, the folder's, is given back when the run ends."""
        self.config, self.cache, self.folder = config, cache, folder
        self.fabric, self.observer = fabric, observer
        self.preset, self._lock = preset, lock
        self.images = self.steps = 0
        self.saved_images: int | None = None
        """Where the newest checkpoint of this run stands; None before the first."""
        self.window: dict[str, float] = {}
        self.window_steps = 0
        self.best: float | None = None
        self.best_images: int | None = None
        self.stopped_by: signal.Signals | None = None
        if fabric.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        g, d = build_networks(config)
        self.game = Game(
            fabric,
            self._player(g, config.optimizer.g_lr),
            self._player(d, config.optimizer.d_lr),
            LOSSES[config.loss],
            regularizers.of_generator(config.regularizers),
            regularizers.of_discriminator(config.regularizers, config.network),
            joint_fakes=config.bn_over == "batch",
        )
        if config.bn_over == "batch":
            g.checkpoint_blocks = True  # type: ignore[assignment]
        self.ema = Ema(g, config.ema)
        self.stream = BatchStream(cache, config.seed, config.data.mirror, config.network.resolution)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="orthogan-batches")
        self._read_ahead: tuple[int, Future[list[tuple[Tensor, Tensor]]]] | None = None

    def _player(self, network: nn.Module, lr: float) -> Player:
        network.to(self.fabric.device)
        o = self.config.optimizer
        adam = torch.optim.Adam(network.parameters(), lr=lr, betas=(o.beta1, o.beta2), eps=o.eps, fused=True)
        wrapped, optimizer = self.fabric.setup(network, adam)
        return Player(wrapped, network, optimizer)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Train to the configured number of images. False if a signal stopped it early; all is saved either way."""
        log = RunLog(self.folder, self.images) if self.fabric.is_global_zero else None
        scorer = self._scorer()
        try:
            with self._signals():
                while self.images < self.config.images and not self._should_stop():
                    before = self.images
                    stats = self.step()
                    self._follow_up(before, stats, log, scorer)
                if self.saved_images != self.images:
                    self.save()
        finally:
            self._reader.shutdown()
            if log is not None:
                log.close()
            if self._lock is not None:
                self._lock.release()
        return self.images >= self.config.images

    def step(self) -> dict[str, float]:
        """d_steps updates of D, each on new images, then one of G, then the average."""
        config = self.config
        self._set_learning_rates()
        for _ in range(config.d_steps):
            real = self._real(self.images)
            latents = self._latents("latents of D", self.images)
            stats = self.game.update_discriminator(real, latents, self._mix(self.images))
            self.images += config.batch
        latents = self._latents("latents of G", self.images, config.g_batches)
        stats |= self.game.update_generator(latents, real)
        self.steps += 1
        self.ema.update(self.game.g.network, self.steps)
        values = self.fabric.all_reduce(torch.stack(list(stats.values())).double())
        return dict(zip(stats, values.tolist(), strict=True))  # type: ignore[union-attr]

    def _set_learning_rates(self) -> None:
        """Constant, or falling linearly to 0 from `decay_from_images` to the end of the run."""
        start = self.config.optimizer.decay_from_images
        if start is None:
            return
        left = (self.config.images - self.images) / max(1, self.config.images - start)
        for player, lr in ((self.game.g, self.config.optimizer.g_lr), (self.game.d, self.config.optimizer.d_lr)):
            player.optimizer.param_groups[0]["lr"] = lr * min(1.0, max(0.0, left))

    def _follow_up(self, before: int, stats: dict[str, float], log: RunLog | None, scorer: Scorer | None) -> None:
        cadence = self.config.cadence
        self.window_steps += 1
        for name, value in stats.items():
            self.window[name] = self.window.get(name, 0.0) + value
        if due(before, self.images, cadence.log_images, cadence.first_images):
            self._log(log)
        if log is not None:
            self.observer.stepped(self.images, stats)
        if due(before, self.images, cadence.sheet_images, cadence.first_images):
            self._sheet(log)
        # Scored before it is saved: a run that is killed while it scores goes on from before, and scores again.
        scored = due(before, self.images, cadence.score_images)
        is_best = scored and self._score(log, scorer)
        if scored or due(before, self.images, cadence.checkpoint_images, cadence.first_images):
            path = self.save()
            if is_best:
                checkpoint.keep_as_best(path)

    def _should_stop(self) -> bool:
        """Whether any process was told to stop: they must leave the loop after the same step."""
        if self.fabric.world_size == 1:
            return self.stopped_by is not None
        return bool(self.fabric.all_reduce(torch.tensor(float(self.stopped_by is not None)), reduce_op="sum"))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM lets the step finish; a second Ctrl-C interrupts at once."""

        def stop(number: int, frame: object) -> None:
            if self.stopped_by and number == signal.SIGINT:
                raise KeyboardInterrupt
            if self.stopped_by is None and self.fabric.is_global_zero:
                self.observer.stopping()
            self.stopped_by = signal.Signals(number)

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # -- batches -------------------------------------------------------------------------------------------------

    def _rows(self, batches: int = 1) -> list[slice]:
        """This process's rows of so many batches joined into one, a slice for each micro-batch.

        A micro-batch is a run of rows that all processes share, so the same images meet in a batch norm whatever the
        number of processes.
        """
        k, world = self.config.accumulate, self.fabric.world_size
        size = batches * self.config.batch // (k * world)
        starts = [(i * world + self.fabric.global_rank) * size for i in range(k)]
        return [slice(start, start + size) for start in starts]

    def _real(self, position: int) -> list[Batch]:
        """Micro-batches of real images in [-1, 1]; the next batch is read while this one is trained on."""
        if self._read_ahead is None or self._read_ahead[0] != position:
            self._read_ahead = position, self._reader.submit(self._read, position)
        read = self._read_ahead[1].result()
        following = position + self.config.batch
        self._read_ahead = following, self._reader.submit(self._read, following)
        noise = self._noise(position, read[0][0].shape[1:]) if self.config.data.dequantize else [None] * len(read)
        return [
            (self._scale(self._to_device(x).float(), above), self._labels(y))
            for (x, y), above in zip(read, noise, strict=True)
        ]

    def _noise(self, position: int, shape: torch.Size) -> list[Tensor | None]:
        """Uniform noise of one grey level for each micro-batch, drawn once for the whole batch."""
        whole = torch.rand((self.config.batch, *shape), generator=draw(self.config.seed, "dequantize", position))
        return [self._to_device(whole[rows]) for rows in self._rows()]

    def _scale(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Grey values 0 ... 255 to [-1, 1], or, dequantised, to [-1, 1 + 1/128)."""
        return x.div_(127.5).sub_(1) if noise is None else x.add_(noise).div_(128).sub_(1)

    def _read(self, position: int) -> list[tuple[Tensor, Tensor]]:
        return [self.stream.batch(position + rows.start, rows.stop - rows.start) for rows in self._rows()]

    def _latents(self, purpose: str, position: int, batches: int = 1) -> list[Batch]:
        """Micro-batches of latents and classes of so many batches joined into one, at this number of images."""
        source = draw(self.config.seed, purpose, position)
        network, n = self.config.network, batches * self.config.batch
        z = sample_latents(n, network.dim_z, source, prior=network.latent, progress=position / self.config.images)
        y = uniform_classes(n, max(1, network.n_classes), source)
        return [(self._to_device(z[rows]), self._labels(y[rows])) for rows in self._rows(batches)]

    def _mix(self, position: int) -> list[Tensor]:
        """Uniform numbers in [0, 1), one an image, for regularisers of D."""
        uniform = torch.rand(self.config.batch, generator=draw(self.config.seed, "mix", position))
        return [self._to_device(uniform[rows]) for rows in self._rows()]

    def _labels(self, y: Tensor) -> Tensor | None:
        return self._to_device(y) if self.config.network.n_classes else None

    def _to_device(self, x: Tensor) -> Tensor:
        return x.to(self.fabric.device, non_blocking=True)

    # -- what is due ---------------------------------------------------------------------------------------------

    def _log(self, log: RunLog | None) -> None:
        means = {name: total / self.window_steps for name, total in self.window.items()}
        self.window, self.window_steps = {}, 0
        if log is not None:
            log.line({"images": self.images, "steps": self.steps, **means})
            log.curves(means | {"images_per_second": log.speed(self.images)}, self.images)

    def _sheet(self, log: RunLog | None) -> None:
        if self.fabric.is_global_zero:
            path = self.folder / "sheets" / f"images-{self.images:012d}.png"
            sheet = class_sheet(snapshot(self.ema.module, self.config.precision), self.config.seed)
            with aside(path) as partial:
                sheet.save(partial)
            if log is not None:
                log.picture(sheet, self.images)
            self.observer.told(f"sheet {path}")
        self.fabric.barrier()

    def _scorer(self) -> Scorer | None:
        """None where scores are not asked for. Raises `UserError` where they cannot be had, before the first step."""
        cadence = self.config.cadence
        if not cadence.score_images or not self.fabric.is_global_zero:
            return None
        self.observer.told("computing the features of the real images")
        whole = dataclasses.replace(self.config.data, random_crop=1.0)
        cache = self.cache if whole == self.config.data else pack(whole, self.config.network.resolution)
        return Scorer(cadence.score_features, cache.checked, cache.fingerprint, self.fabric.device)

    def _score(self, log: RunLog | None, scorer: Scorer | None) -> bool:
        """Score the average, on the first process; whether it is the best so far."""
        if scorer is None or log is None:
            return False
        sampler = snapshot(self.ema.module, self.config.precision)
        images = sampler.stream(self.config.cadence.score_samples, seed=self.config.seed)
        stamp = {"images_seen": self.images, "truncation": None, "standing_statistics_batches": STANDING_BATCHES}
        result = scorer.score(images, seed=self.config.seed, generator=stamp)
        log.line({"images": self.images, **result}, "scores.jsonl")
        distance = float(result["scores"]["frechet_distance"])
        log.curves({f"scores/{name}": value for name, value in result["scores"].items()}, self.images)
        self.observer.told(f"frechet distance ({self.config.cadence.score_features}) {distance:.2f}")
        is_best = self.best is None or distance < self.best
        if is_best:
            self.best, self.best_images = distance, self.images
        return is_best

    # -- checkpoints ---------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _parts(self) -> dict[str, nn.Module]:
        return {"generator": self.game.g.network, "discriminator": self.game.d.network, "ema": self.ema.module}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"g_optimizer": self.game.g.optimizer, "d_optimizer": self.game.d.optimizer}

    def save(self) -> Path:
        """Write everything the next step depends on.

        Raises `NonFiniteError` instead of writing a number that is none, and `CannotWrite`; older checkpoints then
        stay as they are.
        """
        path = self.checkpoints / checkpoint.file_name(self.images)
        if self.fabric.is_global_zero:
            tensors = self._tensors()
            for name, tensor in tensors.items():
                if not torch.isfinite(tensor).all():
                    raise NonFiniteError(f"{name} is not finite")
            checkpoint.save(path, tensors, checkpoint.Header(self.config, self.images, self.steps, self._extra()))
            checkpoint.prune(self.checkpoints, self.config.cadence.keep_last)
            self.observer.told(f"checkpoint {path}")
        self.saved_images = self.images
        self.fabric.barrier()
        return path

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"{p}.{k}": v for p, module in self._parts().items() for k, v in module.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
        return tensors

    def _extra(self) -> dict[str, Any]:
        return {
            "class_names": list(self.cache.class_names),
            "data": self.cache.fingerprint,
            "window": self.window,
            "window_steps": self.window_steps,
            "best": self.best,
            "best_images": self.best_images,
            "preset": self.preset,
        }

    def restore(self, found: checkpoint.Loaded) -> None:
        """Take up a run where a checkpoint of it stands. Raises `UserError` if the data has changed since."""
        header = found.header
        if header.extra["data"] != self.cache.fingerprint:
            raise UserError(
                f"the data at {self.config.data.source!r} has changed since {found.path.name} was written; "
                "restore it, or start a new run with `orthogan train`"
            )
        for name, module in self._parts().items():
            module.load_state_dict(found.require_fit(name, module))
        for name, optimizer in self._optimizers().items():
            _restore_optimizer(optimizer, found, name)
        self.images, self.steps = header.images, header.steps
        self.saved_images = header.images
        extra = header.extra
        self.window, self.window_steps, self.best = dict(extra["window"]), extra["window_steps"], extra["best"]
        self.best_images = extra.get("best_images")  # files of format 1 have none


def _restore_optimizer(optimizer: torch.optim.Optimizer, found: checkpoint.Loaded, name: str) -> None:
    """Take up Adam's moments of every parameter. Raises `BadCheckpoint` where, after the first step, one is missing."""
    stored = found.part(name)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for index, parameter in enumerate(parameters if found.header.steps else []):
        shapes = {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        state[index] = {key: stored[f"{index}.{key}"] for key in shapes if f"{index}.{key}" in stored}
        if {key: value.shape for key, value in state[index].items()} != shapes:
            raise checkpoint.BadCheckpoint(
                f"{found.path} lacks {name}'s state of parameter {index}: it can be sampled, but training cannot go on "
                "from it"
            )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def check_world(config: RunConfig[Any], world_size: int) -> None:
    """Every process must get the same number of images in every micro-batch."""
    share = world_size * config.accumulate
    if config.batch % share:
        below = config.batch // share * share
        near = " or ".join(str(b) for b in (below, below + share) if b)
        raise UserError(
            f"batch={config.batch} cannot be shared by {world_size} processes with accumulate={config.accumulate} "
            f"micro-batches each; try batch {near}"
        )
