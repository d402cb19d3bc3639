"""`orthogan evaluate`: score a generator, or a folder of images, against real images."""

import dataclasses
import importlib
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from orthogan.commands.parsing import parse
from orthogan.data.config import Crop, DataConfig, Resize
from orthogan.errors import UserError
from orthogan.features import weights
from orthogan.files import write_whole
from orthogan.metrics import MIN_IMAGES
from orthogan.reports import console, counting, quoted, table
from orthogan.settings import require
from orthogan.training import foreign

# Everything that imports PyTorch is loaded by name inside functions, after the weights were found: a missing file is
# told in a moment, not after the seconds that those imports take.


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score generated images against real ones: Fréchet distance, kernel distance, classifier score, precision, recall.

    Writes a JSON file that holds the scores and the protocol they were computed by.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_IMAGES")]
    """A run folder, a checkpoint file, or generated images: a folder, a zip, an .npz or .npy file."""
    against: Annotated[str, tyro.conf.arg(metavar="DATA")]
    """The real images: anything that --data of `orthogan train` takes."""
    features: Annotated[str, tyro.conf.arg(metavar="NAME")] = "efficientnet-lite0"
    """Feature network: inception (the usual FID), efficientnet-lite0, efficientnet-lite0-96 (a fifth of the work),
    efficientnet-lite1 or efficientnet-lite2."""
    samples: Annotated[int | None, tyro.conf.arg(aliases=["-n"], metavar="N")] = None
    """Generated images to score. By default 5,000 of a generator, or all images of a folder."""
    real: Annotated[int, tyro.conf.arg(metavar="N")] = 50_000
    """At most so many real images; of more, the same choice is made every time."""
    truncation: Annotated[float | None, tyro.conf.arg(metavar="T")] = None
    """Truncation threshold of the latents of a generator."""
    form: Literal["redraw", "scaled"] = "redraw"
    """Truncation as in the BigGAN paper, or as in its released models."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Seed of the latents and of the scores. The same seed gives the same digits."""
    weights: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """File with the weights of the feature network, if it is not in its usual place."""
    resolution: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Side in pixels to score images at. Default: the generator's, or the common size of the generated images."""
    crop: Annotated[Crop | None, tyro.conf.arg(name="data.crop")] = None
    """How real images become squares. Default: as in the run, else center."""
    resize: Annotated[Resize | None, tyro.conf.arg(name="data.resize")] = None
    """Filter that shrinks real images. Default: as in the run, else area."""
    unconditional: Annotated[bool, tyro.conf.arg(name="data.unconditional")] = False
    """Ignore the labels that the real images have."""
    skip_bad: Annotated[bool, tyro.conf.arg(name="data.skip-bad")] = False
    """Leave unreadable files out and go on."""
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """cpu, cuda, cuda:1, ... Default: the GPU if there is one."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    """The JSON file. Default: scores-*.json in the run folder, else in the current folder."""

    def __post_init__(self) -> None:
        for name, least in (("samples", MIN_IMAGES), ("real", MIN_IMAGES), ("resolution", 1)):
            value = getattr(self, name)
            require(value is None or value >= least, name, value, f"must be at least {least}")
        if self.path.suffix in foreign.SUFFIXES:
            foreign.refuse_foreign(self.path)
        if is_model(self.path) and self.resolution is not None:
            raise UserError(f"resolution={self.resolution}: a generator is scored at its own; leave it out")
        if not is_model(self.path) and (self.truncation is not None or self.form != "redraw"):
            raise UserError(
                f"truncation={self.truncation}, form={self.form}: no effect on images; {self.source} is not a generator"
            )

    @property
    def path(self) -> Path:
        return Path(self.source).expanduser()


def main(argv: list[str]) -> int:
    """Run `orthogan evaluate ARGV`. Raises UserError for what the user can mend."""
    options: Options = parse(Options, argv, "evaluate")
    weights.locate(options.features, options.weights)
    result = _score(options)
    wanted = options.out or default_out(options, result["protocol"])
    out = free_name(wanted, result["protocol"])
    write_json(out, result)
    show(result)
    if out != wanted:
        console.print(f"{quoted(wanted)} holds a score by another protocol, and stays", markup=False)
    console.print(f"scores and protocol: {quoted(out)}", markup=False)
    return 0


def is_model(path: Path) -> bool:
    """Whether to load a generator: a checkpoint file or a run folder. Anything else is images."""
    if path.is_dir():
        return (path / "config.json").is_file() and (path / "checkpoints").is_dir()
    return path.suffix == ".safetensors"


def run_folder(path: Path) -> Path | None:
    """The run folder that a folder is or that a checkpoint file lies in, if any."""
    return next(
        (folder for folder in (path, *path.absolute().parents[:2]) if is_model(folder) and folder.is_dir()), None
    )


@dataclass(frozen=True)
class Generated:
    """What is scored: a stream of uint8 (B, H, W, 3), how many, and what the protocol says about them afterwards."""

    images: Iterable[Any]
    count: int
    resolution: int
    data: DataConfig
    """How the real images that they should resemble were read."""
    stamp: Callable[[], dict[str, Any]]


def _score(options: Options) -> dict[str, Any]:
    evaluate = importlib.import_module("orthogan.metrics.evaluate")
    device = importlib.import_module("orthogan.runtime").pick_device(options.device)
    generated = _from_model(options) if is_model(options.path) else _from_images(options)
    config = real_config(options, generated.data)
    cache = _pack(config, generated.resolution, "decoding real images")
    with counting("features of real images") as progress:
        scorer = evaluate.Scorer(
            options.features,
            cache.checked,
            cache.fingerprint,
            device,
            weights=options.weights,
            max_real=options.real,
            source={"source": config.source, "crop": config.crop, "resize": config.resize},
            progress=lambda done: progress(done, min(options.real, len(cache))),
        )
    with counting("features of generated images") as progress:
        result: dict[str, Any] = scorer.score(
            generated.images, options.seed, progress=lambda done: progress(done, generated.count)
        )
    for section, facts in generated.stamp().items():
        result["protocol"].setdefault(section, {}).update(facts)
    return result


def _from_model(options: Options) -> Generated:
    model = importlib.import_module("orthogan.model").load(options.path, options.device)
    count = options.samples or 5000

    def stamp() -> dict[str, Any]:
        # Asked for after sampling: standing statistics may have been computed on the way.
        return {"generated": {"source": options.source}, "generator": model.describe() | {"seed": options.seed}}

    images = model.stream(count, truncation=options.truncation, form=options.form, seed=options.seed)
    return Generated(images, count, model.resolution, model.header.config.data, stamp)


def _from_images(options: Options) -> Generated:
    evaluate = importlib.import_module("orthogan.metrics.evaluate")
    resolution = options.resolution or common_size(options.source)
    config = DataConfig(source=options.source, unconditional=True, skip_bad=options.skip_bad)
    cache = _pack(config, resolution, "decoding generated images")
    count = options.samples or len(cache)
    if count > len(cache):
        raise UserError(f"samples={count}: {options.source} holds {len(cache)} images; ask for as many or fewer")
    chosen = evaluate.choose(len(cache), count, "scores/generated")
    facts = {"source": options.source, "fingerprint": cache.fingerprint, "of": len(cache)}
    images = evaluate.batches(cache.checked, chosen)
    return Generated(images, count, resolution, DataConfig(), lambda: {"generated": facts})


def real_config(options: Options, learnt_from: DataConfig) -> DataConfig:
    """How the real images are read: as those that the generator learnt from, unless told otherwise."""
    given: dict[str, Any] = {"source": options.against, "crop": options.crop, "resize": options.resize}
    given["random_crop"] = 1.0  # they are scored whole
    given |= {"unconditional": options.unconditional or None, "skip_bad": options.skip_bad or None}
    return dataclasses.replace(learnt_from, **{name: value for name, value in given.items() if value is not None})


def common_size(spec: str) -> int:
    """The side of the images, if all are squares of one size. Raises UserError when they are not."""
    source = importlib.import_module("orthogan.data").open_source(spec, True)
    sizes = set()
    for index in range(len(source)):
        try:
            with source.read(index) as image:
                sizes.add(image.size)
        except Exception:
            continue  # an unreadable image: listed with the others when they are decoded
    (width, height), *others = sorted(sizes) or [(0, 1)]
    if others or width != height:
        found = ", ".join(f"{w}x{h}" for w, h in sorted(sizes)[:4]) + (", ..." if len(sizes) > 4 else "")
        raise UserError(
            f"{spec}: the images are not squares of one size ({found or 'none is readable'}); "
            "give the side to score them at with --resolution"
        )
    return int(width)


def default_out(options: Options, protocol: dict[str, Any]) -> Path:
    """scores-<features>[-<images seen>]-n<N>[-t<truncation>][-s<seed>].json, beside the run's other files."""
    parts = ["scores", options.features]
    if (seen := protocol.get("generator", {}).get("images_seen")) is not None:
        parts.append(str(seen))
    parts.append(f"n{protocol['generated']['images']}")
    if options.truncation is not None:
        parts.append(f"t{options.truncation:g}")
    if options.seed:
        parts.append(f"s{options.seed}")
    folder = run_folder(options.path) if is_model(options.path) else None
    return (folder or Path()) / ("-".join(parts) + ".json")


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def free_name(path: Path, protocol: dict[str, Any]) -> Path:
    """The path, or the next of name-2, name-3 ... that holds no score by another protocol.

    Where nothing differs the digits are the same too, and the file may be written again.
    """
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(2)))
    return next(name for name in names if not name.exists() or protocol_in(name) == plain(protocol))


def protocol_in(path: Path) -> Any:
    """The protocol of a score file; None for any other file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["protocol"]
    except (ValueError, KeyError, TypeError):
        return None


def plain(values: dict[str, Any]) -> Any:
    """As JSON gives it back: tuples are lists there."""
    return json.loads(json.dumps(values))


def _pack(config: DataConfig, resolution: int, what: str) -> Any:
    with counting(what) as progress:
        return importlib.import_module("orthogan.data").pack(config, resolution, progress)


_BETTER = {"frechet_distance": "lower", "kernel_distance": "lower"}


def show(result: dict[str, Any]) -> None:
    """Print the scores and what to know about them."""
    scores = importlib.import_module("orthogan.metrics.scores")
    values, protocol = result["scores"], result["protocol"]
    rows = []
    for name in scores.TITLES:
        spread = values.get(f"{name}_std")
        told = f"{values[name]:.5g}" + (f" ± {spread:.2g}" if spread else "")
        rows.append([scores.title(name, protocol["features"]["network"]), told, _BETTER.get(name, "higher")])
    counts = f"{protocol['generated']['images']} generated against {protocol['real']['images']} real images"
    table(counts, ["score", "value", "better"], rows)
    for note in result["notes"]:
        console.print(f"note: {note}", markup=False)
