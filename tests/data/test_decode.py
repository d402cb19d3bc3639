"""Each mode against pixels worked out by hand."""

import io

import numpy as np
import pytest
from pictures import noise
from PIL import Image

from orthogan.data.config import DataConfig
from orthogan.data.decode import Policy, parse_colour, square, to_rgb
from orthogan.errors import UserError

WHITE, RED = (255, 255, 255), (255, 0, 0)


def reopened(image: Image.Image, form: str, **options: object) -> Image.Image:
    """What a file of that format gives back."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return Image.open(stream)


def first_pixel(image: Image.Image, background: tuple[int, int, int] = WHITE) -> tuple[int, ...]:
    rgb = to_rgb(image, background)
    assert rgb.mode == "RGB"
    return rgb.getpixel((0, 0))


@pytest.mark.parametrize(("stored", "shown"), [(65535, 255), (32768, 128), (0, 0), (257, 1), (300, 1)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form, stored, shown):
    image = reopened(Image.fromarray(np.full((2, 2), stored, np.uint16)), form)
    assert first_pixel(image) == (shown,) * 3


def test_16_bits_in_wide_integers_are_scaled_too():
    assert first_pixel(Image.fromarray(np.full((2, 2), 32768, np.int32))) == (128,) * 3


def test_integers_beyond_16_bits_have_no_agreed_range():
    with pytest.raises(ValueError, match="expected 16 bits"):
        first_pixel(Image.fromarray(np.full((2, 2), 70_000, np.int32)))


def test_floats_are_taken_in_0_to_1_and_nowhere_else():
    assert first_pixel(Image.fromarray(np.full((2, 2), 0.5, np.float32))) == (128,) * 3
    for wrong in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match="expected"):
            first_pixel(Image.fromarray(np.full((2, 2), wrong, np.float32)))


def test_cyan_of_cmyk():
    assert first_pixel(reopened(Image.new("CMYK", (2, 2), (255, 0, 0, 0)), "TIFF")) == (0, 255, 255)
    red, green, blue = first_pixel(reopened(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=100))
    assert red < 5
    assert min(green, blue) > 250


def test_one_bit_and_grey():
    assert first_pixel(reopened(Image.new("1", (2, 2), 1), "PNG")) == WHITE
    assert first_pixel(reopened(Image.new("L", (2, 2), 77), "PNG")) == (77, 77, 77)


def test_transparency_shows_the_background():
    half = Image.new("RGBA", (2, 2), (0, 0, 255, 128))
    assert first_pixel(half, RED) == (127, 0, 128)
    assert first_pixel(Image.new("RGBA", (2, 2), (0, 255, 0, 0)), RED) == RED
    assert first_pixel(Image.new("LA", (2, 2), (9, 0)), RED) == RED
    assert first_pixel(Image.new("LA", (2, 2), (9, 255)), RED) == (9, 9, 9)


def test_transparent_palette_entry_shows_the_background():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 255, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    opened = reopened(image, "PNG", transparency=0)
    assert opened.mode == "P"
    rgb = to_rgb(opened, RED)
    assert [rgb.getpixel((x, 0)) for x in (0, 1)] == [RED, (0, 0, 255)]


def test_transparent_colour_of_a_png_without_alpha_shows_the_background():
    opened = reopened(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert first_pixel(opened, RED) == RED


def test_exif_orientation_6_turns_the_picture_upright():
    image = Image.new("RGB", (2, 1))
    image.putdata([(10, 0, 0), (200, 0, 0)])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the left end comes to the top
    upright = to_rgb(reopened(image, "PNG", exif=exif), WHITE)
    assert upright.size == (1, 2)
    assert [upright.getpixel((0, y))[0] for y in (0, 1)] == [10, 200]


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, (0, 0, 255))]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    opened = Image.open(stream)
    assert opened.n_frames == 2
    assert first_pixel(opened) == RED


def bars(width: int, height: int) -> Image.Image:
    """Each pixel tells its place: red is x, green is y."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8))


def corners(image: Image.Image, crop: str, resolution: int) -> list[list[int]]:
    pixels = square(image, Policy(resolution, crop=crop))
    assert pixels.shape == (resolution, resolution, 3)
    assert pixels.dtype == np.uint8
    return [pixels[0, 0, :2].tolist(), pixels[-1, -1, :2].tolist()]


def test_crops():
    assert corners(bars(8, 4), "center", 4) == [[2, 0], [5, 3]]
    assert corners(bars(4, 8), "center", 4) == [[0, 2], [3, 5]]
    assert corners(bars(4, 8), "top", 4) == [[0, 0], [3, 3]]
    assert corners(bars(8, 4), "top", 4) == [[2, 0], [5, 3]]
    assert corners(bars(8, 4), "stretch", 4) == [[1, 0], [7, 3]]  # means of two columns, halves rounded up


def test_pad_adds_borders_of_the_background():
    pixels = square(Image.new("RGB", (8, 4), (0, 0, 255)), Policy(8, crop="pad", background=RED))
    assert (pixels[:2] == RED).all()
    assert (pixels[-2:] == RED).all()
    assert (pixels[2:-2] == (0, 0, 255)).all()


def test_area_averages_when_shrinking():
    image = Image.fromarray(np.array([[0, 100], [100, 200]], np.uint8))
    assert square(image, Policy(1)).tolist() == [[[100, 100, 100]]]


def shares(old: int, new: int) -> np.ndarray:
    """(new, old): the share of old pixel j in new pixel i, by the definition."""
    return np.array(
        [
            [max(0.0, min((i + 1) * old / new, j + 1) - max(i * old / new, j)) * new / old for j in range(old)]
            for i in range(new)
        ]
    )


@pytest.mark.parametrize(
    ("size", "resolution", "crop"),
    [((427, 427), 256, "center"), ((61, 64), 48, "stretch"), ((2000, 1030), 7, "stretch")],
)
def test_area_is_the_exact_average_over_each_new_pixel(size, resolution, crop):
    pixels = noise(0, size)
    expected = np.einsum(
        "iy,jx,yxc->ijc", shares(size[1], resolution), shares(size[0], resolution), pixels, optimize=True
    )
    errors = square(Image.fromarray(pixels), Policy(resolution, crop=crop)) - expected
    assert np.abs(errors).max() <= 0.5 + 1e-6  # rounding to whole grey levels, and nothing else
    assert np.sqrt((errors**2).mean()) < 0.3


def test_area_pads_in_the_picture_s_own_shape():
    pixels = noise(1, (90, 45))
    padded = square(Image.fromarray(pixels), Policy(32, crop="pad", background=RED))
    assert (padded[:8] == RED).all()
    assert (padded[24:] == RED).all()
    expected = np.einsum("iy,jx,yxc->ijc", shares(45, 16), shares(90, 32), pixels)
    assert np.abs(padded[8:24] - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("crop", ["pad", "stretch"])
def test_a_line_of_one_pixel_has_a_square_too(crop):
    assert square(Image.new("RGB", (500, 1), RED), Policy(16, crop=crop)).shape == (16, 16, 3)


def test_area_does_not_make_blocks_when_enlarging():
    image = Image.fromarray(np.array([[0, 255], [0, 255]], np.uint8))
    enlarged = square(image, Policy(8))
    assert np.array_equal(enlarged, square(image, Policy(8, resize="bicubic")))
    assert len(np.unique(enlarged)) > 2


@pytest.mark.parametrize("resize", ["area", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resolution", [48, 7])
def test_every_filter_reaches_any_resolution_and_keeps_flat_colour(resize, resolution):
    pixels = square(Image.new("RGB", (30, 20), (10, 20, 30)), Policy(resolution, resize=resize))
    assert pixels.shape == (resolution, resolution, 3)
    assert (pixels == (10, 20, 30)).all()


def test_filters_differ():
    image = Image.fromarray(noise(0, (40, 40)))
    results = {square(image, Policy(7, resize=name)).tobytes() for name in ("area", "bilinear", "bicubic", "lanczos")}
    assert len(results) == 4


def test_colours_by_name_and_code():
    assert parse_colour("white") == WHITE
    assert parse_colour("#ff0000") == RED
    with pytest.raises(UserError, match=r"data\.background='whit'"):
        parse_colour("whit")


def test_policy_holds_the_settings():
    config = DataConfig(crop="pad", resize="lanczos", background="red")
    assert Policy.of(config, 48) == Policy(48, "pad", "lanczos", RED)
    with pytest.raises(UserError, match="resolution=0"):
        Policy.of(config, 0)
