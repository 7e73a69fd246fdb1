"""Pictures out of nothing: what a fake model "generates", and the picture that every server starts with."""

from __future__ import annotations

import io
import random
from bisect import bisect_right
from functools import cache, lru_cache

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

from comfy_mock.engine.values import Subject

DRAWN_SIZE_MAX = 1024
"""The longest side that is really drawn, in pixels: larger pictures are enlarged ones, which bounds the work."""

_TEXT_MAX = 600
_SMALLEST_WITH_TEXT = 24
_HALF_FOR_TEXT = 64

Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont
_Colour = tuple[int, int, int]


def draw_subject(subject: Subject, width: int, height: int, index: int) -> PIL.Image.Image:
    """A picture of `width` x `height` pixels that shows `subject`: an RGB image, equal for equal arguments.

    The seed and `index`, the place in the batch, choose colours and shapes; the seed and the subject's lines are
    spelled in a band at the bottom where the picture is large enough for letters.
    """
    longest = max(width, height)
    scale = min(1.0, DRAWN_SIZE_MAX / longest)
    drawn_width, drawn_height = max(1, round(width * scale)), max(1, round(height * scale))
    numbers = random.Random(f"{subject.seed}/{index}")
    image = _background(numbers, drawn_width, drawn_height)
    _draw_shapes(image, numbers)
    if min(drawn_width, drawn_height) >= _SMALLEST_WITH_TEXT:
        _draw_caption(image, subject, index)
    if image.size != (width, height):
        image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
    return image


@cache
def example_png() -> bytes:
    """`example.png`, which lies in the input folder of every fresh server: a PNG of 512 x 512 pixels."""
    subject = Subject(seed=20, lines=("example.png", "comfy-mock"))
    data = io.BytesIO()
    draw_subject(subject, 512, 512, 0).save(data, format="PNG", compress_level=4)
    return data.getvalue()


def _background(numbers: random.Random, width: int, height: int) -> PIL.Image.Image:
    hue = numbers.random()
    dark = _colour(hue, 0.75, 0.35)
    light = _colour(hue + numbers.uniform(0.08, 0.25), 0.55, 0.95)
    slope = PIL.Image.linear_gradient("L").rotate(numbers.choice((0, 90, 180, 270)))
    return PIL.ImageOps.colorize(slope, dark, light).resize((width, height), PIL.Image.Resampling.BILINEAR)


def _draw_shapes(image: PIL.Image.Image, numbers: random.Random) -> None:
    width, height = image.size
    draw = PIL.ImageDraw.Draw(image, "RGBA")
    for number in range(6):
        colour = (*_colour(numbers.random(), 0.7, 0.95), 110)
        centre_x, centre_y = numbers.uniform(0, width), numbers.uniform(0, height * 0.8)
        reach = numbers.uniform(0.08, 0.3) * min(width, height)
        if number % 3 == 2:
            draw.regular_polygon(
                (centre_x, centre_y, reach), numbers.randint(3, 6), numbers.randint(0, 90), fill=colour
            )
        else:
            box = (centre_x - reach, centre_y - reach, centre_x + reach, centre_y + reach)
            draw.ellipse(box, fill=colour)


def _draw_caption(image: PIL.Image.Image, subject: Subject, index: int) -> None:
    width, height = image.size
    size = max(9, min(width, height) // 20)
    font = _font(size)
    margin, line_height = max(1, size // 3), round(size * 1.25)
    # Small pictures give all their room to the letters, others half of it.
    room = max(1, (height // 2 if height >= _HALF_FOR_TEXT else height - margin) // line_height)
    seed = str(subject.seed) if index == 0 else f"{subject.seed} #{index + 1}"
    lines = [f"seed {seed}" if font.getlength(f"seed {seed}") <= width - 2 * margin else seed]
    lines += (" ".join(line[:_TEXT_MAX].split()) for line in subject.lines)
    wrapped = [part for line in lines for part in _wrap(line, font, width - 2 * margin, room)][:room]
    top = height - len(wrapped) * line_height - margin
    draw = PIL.ImageDraw.Draw(image, "RGBA")
    draw.rectangle((0, top - margin, width, height), fill=(0, 0, 0, 150))
    draw.multiline_text((margin, top), "\n".join(wrapped), fill=(255, 255, 255), font=font, spacing=line_height - size)


def _wrap(text: str, font: Font, width: int, lines_max: int) -> list[str]:
    """`text` broken to lines of at most `width` pixels, at blanks where it can be; about `lines_max` of them."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width:
            line = longer
            continue
        lines += [line] if line else []
        line = word
        while font.getlength(line) > width and len(line) > 1 and len(lines) < lines_max:
            fitting = _fitting(line, font, width)
            lines.append(line[:fitting])
            line = line[fitting:]
        if len(lines) >= lines_max:
            return lines
    return [*lines, line] if line else lines


def _fitting(word: str, font: Font, width: int) -> int:
    """How many letters of `word` fit in `width` pixels; at least one."""
    counts = range(1, min(len(word), width) + 1)
    return max(1, bisect_right(counts, float(width), key=lambda count: float(font.getlength(word[:count]))))


@lru_cache(maxsize=32)
def _font(size: int) -> Font:
    return PIL.ImageFont.load_default(size)


def _colour(hue: float, saturation: float, value: float) -> _Colour:
    sector, part = divmod((hue % 1.0) * 6, 1)
    low, falling, rising = (
        value * (1 - saturation),
        value * (1 - saturation * part),
        value * (1 - saturation * (1 - part)),
    )
    red, green, blue = (
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    )[int(sector)]
    return round(red * 255), round(green * 255), round(blue * 255)
