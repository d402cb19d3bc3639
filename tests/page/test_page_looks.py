"""What everybody can read: contrast of the colours, order of headings, names of tables and pictures."""

import itertools
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from pages import Page, page_of
from tiny import tiny_run

from orthogan.page import charts, read, render, several
from orthogan.training.logs import write_config

TEXT, GRAPHIC = 4.5, 3.0
"""Least contrasts of WCAG 2.1, level AA: of texts (1.4.3) and of what a figure needs to be understood (1.4.11)."""
THEMES = {"light": 0, "dark": 1}


def style() -> str:
    return (files("orthogan.page") / "templates" / "style.css").read_text()


def palette(theme: str) -> dict[str, str]:
    """The colours by name: those of the dark theme stand after the light ones, in a media query."""
    light, dark = style().split("@media (prefers-color-scheme: dark)")[:2]
    found = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in (light, dark)]
    return found[THEMES[theme]]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the well-known grey that just fails


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_has_enough_contrast(theme: str):
    colours = palette(theme)
    assert {"back", "raised", "ink", "quiet", "link", "good", "warning"} <= colours.keys()
    for ground in ("back", "raised"):
        for name in ("ink", "quiet", "link", "good", "warning"):
            assert contrast(colours[name], colours[ground]) >= TEXT, (name, ground)


def test_texts_have_no_colours_but_those():
    """Each colour of the style is a variable, so that the test above sees it; the ground of pictures is white."""
    rules = style()[style().index("* {") :]
    assert re.findall(r"#[0-9a-f]{3,6}\b", rules) == ["#fff"]
    used = set(re.findall(r"[^-]color: var\(--(\w+)\)", rules))
    assert used <= {"ink", "quiet", "link", "good", "warning"}


@pytest.mark.parametrize("theme", THEMES)
def test_every_line_of_a_figure_has_enough_contrast(theme: str):
    for colour in (*charts.COLOURS, *charts.DEPTHS):
        assert contrast(colour, palette(theme)["back"]) >= GRAPHIC, colour


def pages(run: Path, other: Path) -> list[Page]:
    facts = [read.read(run), read.read(other)]
    return [page_of(run)[1], page_of(other)[1], Page(several.of_runs(facts, 0, "cpu"))]


@pytest.fixture
def begun(tmp_path: Path, arrays: Path) -> Path:
    write_config(tmp_path / "begun", tiny_run(arrays), "small-32")
    return tmp_path / "begun"


def test_headings_go_down_by_one(run: Path, begun: Path):
    for page in pages(run, begun):
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_tables_have_captions_and_heads_with_a_scope(run: Path, begun: Path):
    for page in pages(run, begun):
        assert len(page.all("table")) == len(page.all("caption")) > 0
        assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
        assert [attributes.get("lang") for attributes in page.all("html")] == ["en"]
        assert all(div["aria-label"] for div in page.all("div") if div.get("role"))


def test_every_figure_is_told_in_words(run: Path):
    page = page_of(run)[1]
    drawn = json.loads(page.scripts["charts"])
    told = [str(div["aria-label"]) for div in page.all("div") if div.get("role") == "img"]
    assert len(told) == len(drawn)
    of_g, of_d = "generator from 0.5 to 0.5, between 0.5 and 0.5", "discriminator from 9 to 161, between 9 and 161"
    assert any(f"Losses: {of_g}; {of_d}" in one for one in told)


def test_links_lead_to_the_sections_in_their_order(run: Path, begun: Path):
    for page in pages(run, begun):
        links = [str(link["href"])[1:] for link in page.all("a") if link.get("class") != "skip"]
        assert links == [section["id"] for section in page.all("section")]


def test_a_study_has_headings_and_captions_too(tmp_path: Path):
    text = render.of_study(
        "Study", "one seed", {"Scores": (["row", "value"], [["a", 1.0]])}, {}, {}, "orthogan study x"
    )
    page = Page(text)
    assert [tag for tag, _ in page.tags if tag in ("h1", "h2", "caption")] == ["h1", "h2", "caption", "h2", "h2"]
    assert "plotly" not in page.scripts
