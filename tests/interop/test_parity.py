"""An import is the same function as the project's own code: on inputs of which that code's outputs are stored."""

from pathlib import Path

import pytest
import torch
from foreign_files import apart, discriminator_of, generator_of, imported, outputs, squares, thin

GENERATORS = [
    "brock64",
    "brock32",
    "brockdeep",
    "studio",
    "studiodeep",
    "mimicrycgan",
    "mimicrysagan",
    "mimicrysngan",
    "projected",
    "projectedlite",
    "projectedcond",
]
DISCRIMINATORS = [name for name in GENERATORS if not name.startswith("projected")]


@pytest.mark.parametrize("case", GENERATORS)
def test_generators_make_the_images_of_their_own_code(case: str, tmp_path: Path) -> None:
    g, expected = generator_of(imported(case, tmp_path)), outputs(case)
    g.noise = "none" if g.noise_modes else g.noise
    with torch.no_grad():
        images = g(expected["z"], expected.get("y"))
    assert apart(thin(images, expected["images"]), expected["images"]) < 1e-5
    assert expected["images"].std() > 0.05  # nothing is compared with nothing


@pytest.mark.parametrize("case", DISCRIMINATORS)
def test_discriminators_give_the_logits_of_their_own_code(case: str, tmp_path: Path) -> None:
    d, expected = discriminator_of(imported(case, tmp_path)), outputs(case)
    with torch.no_grad():
        logits = d(squares(expected), expected.get("x_y"))
    assert apart(logits, expected["logits"]) < 1e-5
    assert (expected["logits"][0] - expected["logits"][1]).abs() > 1e-2
