"""A folder as the Hugging Face hub wants one: weights, settings, a model card with a sheet and scores."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthogan import hub, optional
from orthogan.errors import UserError
from orthogan.exporting.weights import header_of, write_weights
from orthogan.files import write_whole
from orthogan.judging import results
from orthogan.metrics.titles import TITLES, title
from orthogan.model import Model
from orthogan.networks import family_of
from orthogan.pictures import save_picture
from orthogan.sampling import class_sheet
from orthogan.settings import require
from orthogan.training import checkpoint

SHEET = "sheet.png"
PROGRAM = "orthogan"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What only a person can say of a model."""

    name: str = ""
    """Title of the model card; the folder's name if left out."""
    license: str = ""
    """Licence of the weights, as the hub calls it: mit, cc-by-4.0, other."""
    data: str = ""
    """What the model was trained on, in a line for the card: name, source, licence of the images."""


def check_free(folder: Path) -> None:
    """Refuse a place that holds something."""
    require(not folder.is_file(), "out", str(folder), "is a file; name a folder")
    holds = folder.is_dir() and any(folder.iterdir())
    require(not holds, "out", str(folder), "is not empty; name a new folder")


def write_folder(
    model: Model,
    folder: Path,
    card: Card,
    run: Path | None = None,
    truncation: float | None = None,
    form: str = "redraw",
) -> None:
    """Write the folder. `run` is the folder whose files of scores are looked through for some of these weights."""
    check_free(folder)
    data = optional.need("huggingface_hub", "hub", "a folder for the hub").ModelCardData
    write_weights(model, folder / hub.WEIGHTS, truncation, form)
    settings = {**checkpoint.config_to_json(header_of(model).config), "images_seen": model.header.images}
    write_whole(folder / "config.json", json.dumps(settings, indent=2) + "\n")
    sheet = class_sheet(model.sampler, truncation=truncation, form=form, names=model.class_names)
    save_picture(sheet, folder / SHEET)
    front = data(
        library_name="orthogan",
        pipeline_tag="unconditional-image-generation",
        license=card.license or None,
        tags=["gan", family_of(model.header.config.generator), "image-generation"],
    )
    body = "\n".join(_body(model, card, folder.name, list(scores_of(model, run)), truncation))
    write_whole(folder / "README.md", f"---\n{front.to_yaml()}\n---\n\n{body}\n")


def scores_of(model: Model, run: Path | None) -> Iterator[dict[str, Any]]:
    """The results of `orthogan evaluate` in a run's folder whose protocol names the very weights of this model."""
    for path in results.within(run) if run else ():
        with suppress(UserError):  # another program's file
            found = results.read(path)
            if found["protocol"].get("generator", {}).get("weights_crc32") == model.weights_id:
                numbers = {k: float(v) for k, v in found["scores"].items() if isinstance(v, int | float)}
                yield {"scores": numbers, "protocol": found["protocol"]}


def _body(model: Model, card: Card, name: str, scored: list[dict[str, Any]], truncation: float | None) -> Iterator[str]:
    config = model.header.config
    classes = f"{model.n_classes} classes" if model.n_classes else "no classes"
    yield f"# {card.name or name}\n"
    yield (
        f"A {family_of(config.generator)} generator of {model.resolution}x{model.resolution} images, {classes}, "
        f"{_origin(model.header)}.\n"
    )
    yield f"![samples]({SHEET})\n"
    if model.class_names:
        yield f"Classes: {', '.join(model.class_names)}.\n"
    yield "## Use\n"
    yield "```python\nimport orthogan\n"
    yield 'model = orthogan.load("hf://OWNER/NAME")'
    how = "" if truncation is None else f", truncation={truncation:g}"
    yield f"pictures = model.images(16{how}, seed=0)\n```\n"
    stated = "no truncation" if truncation is None else f"truncation {truncation:g}"
    yield f"The file holds averaged weights and standing statistics at {stated}; others are collected when needed.\n"
    yield "## Scores\n"
    yield from _scores(scored)
    yield f"\n## Data\n\n{card.data or 'Not stated.'}\n"
    yield f"## Licence\n\n{card.license or 'Not stated: ask the author before any use.'}"


def _origin(header: checkpoint.Header) -> str:
    """What the generator learnt from, or which file of another project it was made of."""
    config, imported = header.config, header.extra.get("imported")
    if imported is None:
        return (
            f"trained with {PROGRAM} against a {family_of(config.discriminator)} discriminator on "
            f"{header.images:,} real images shown (batch {config.batch}, loss {config.loss})"
        )
    try:
        parts, sums = imported["parts"], imported["sha256"]
        file = (parts.get("ema") or parts["generator"])["file"]
        return f"converted with {PROGRAM} from {imported['project']} ({file}, sha256 {sums[file]})"
    except (KeyError, TypeError, AttributeError):  # a header that somebody else has written
        return f"converted with {PROGRAM} from a file of another project"


def _scores(scored: list[dict[str, Any]]) -> Iterator[str]:
    if not scored:
        yield "None were computed for these weights."
    for number, result in enumerate(scored):
        yield "\n" * (number > 0) + "| score | value |\n|---|---|"
        network = result["protocol"]["features"]["network"]
        values = {name: result["scores"][name] for name in TITLES if name in result["scores"]}
        yield from (f"| {title(name, network)} | {value:.4g} |" for name, value in values.items())
        protocol = json.dumps(results.plain(result["protocol"]), indent=1)
        yield f"\n<details><summary>Protocol</summary>\n\n```json\n{protocol}\n```\n\n</details>"
