"""Strips: bars, captions, motifs, and the name of a picture by its content."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image, ImageChops

from passes.artwork import MOTIFS, GoalBar, StripArt, google_hero_png, strip_png
from passes.artwork.paint import mix
from passes.artwork.strips import placed_stamps, seen_alpha
from passes.colors import contrast_of, rgb
from passes.content import PassContentError, StampCard

ACCENT = (242, 193, 78)
ART = StripArt(background="#16324F", foreground="#FFFFFF", accent="#F2C14E")


def opened(art: StripArt, scale: int = 1) -> Image.Image:
    image = Image.open(io.BytesIO(strip_png(art, scale)))
    image.load()
    return image.convert("RGB")


def filled_width(done: int, steps: int) -> int:
    """How far the accent reaches along the lower edge of the bar, in points."""
    image = opened(replace(ART, bar=GoalBar(done, steps)))
    return sum(image.getpixel((x, 80)) == ACCENT for x in range(313))


@pytest.mark.parametrize("steps", [3, 10, 11, 40])
def test_a_bar_grows_with_every_step_and_is_seen_to_be_full_only_at_the_goal(steps):
    widths = [filled_width(done, steps) for done in range(steps + 1)]
    assert widths[0] == 0
    assert all(more > less for less, more in pairwise(widths))
    assert widths[-2] <= widths[-1] - 3


def test_a_few_steps_can_be_counted():
    image = opened(replace(ART, bar=GoalBar(3, 3)))
    row = [image.getpixel((x, 80)) == ACCENT for x in range(313)]
    assert sum(here and not there for here, there in pairwise(row)) == 3, "the end of each of three pieces"


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("total", [5, 8, 11, 20, 30])
def test_stamps_stand_on_whole_pixels_so_that_each_is_as_the_other(scale, total):
    drawn = opened(replace(ART, motif="stars", stamps=StampCard(filled=total - 1, total=total)), scale)
    circles = placed_stamps(replace(ART, stamps=StampCard(filled=1, total=total)), *drawn.size)
    boxes = [circle.box for circle in circles]
    assert all(edge == int(edge) for box in boxes for edge in box)
    first = drawn.crop(inner(boxes[0]))
    assert all(not ImageChops.difference(first, drawn.crop(inner(box))).getbbox() for box in boxes[: total - 1])
    assert min(box[0] for box in boxes) >= 0
    assert max(box[3] for box in boxes) <= drawn.height


def inner(box):
    """The middle of a stamp, with its sign and without the smooth edge over the ground."""
    margin = (box[2] - box[0]) * 0.2
    return tuple(map(int, (box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin)))


GROUNDS = [("#0b4f6c", "#ffffff", "#f6ddb0"), ("#4f5d6b", "#ffffff", "#e9eff5"), ("#7d5a12", "#ffffff", "#f5d585"),
           ("#f6efe4", "#2b2118", "#b5472f")]  # fmt: skip


@pytest.mark.parametrize("colors", GROUNDS)
def test_what_is_done_stands_out_from_what_is_not_and_rings_from_the_card(colors):
    background, foreground = map(rgb, colors[:2])
    art = replace(ART, **dict(zip(("background", "foreground", "accent"), colors, strict=True)))
    image = opened(replace(art, bar=GoalBar(20, 40)), 2)
    done, to_go = image.getpixel((200, 164)), image.getpixel((500, 164))
    assert contrast_of(done, to_go) >= 2.8
    assert contrast_of(to_go, image.getpixel((500, 200))) >= 1.2
    line = mix(background, foreground, seen_alpha(background, foreground, 120) / 255)
    assert contrast_of(line, background) >= 3


@pytest.mark.parametrize("motif", sorted(MOTIFS))
def test_every_motif_is_seen_and_starts_without_a_seam(motif):
    with_motif, other = (
        opened(replace(ART, motif=motif)),
        opened(replace(ART, motif="hills" if motif != "hills" else "sun")),
    )
    assert ImageChops.difference(with_motif, other).getbbox() is not None
    assert with_motif.size == (375, 144)


@pytest.mark.parametrize("motif", sorted(MOTIFS))
@pytest.mark.parametrize("art", [ART, replace(ART, background="#F6EFE4", foreground="#2B2118", accent="#B5472F")])
def test_a_motif_keeps_clear_of_the_words(motif, art):
    """The ground around a line of text is the ground's own colour: nothing there takes its contrast away."""
    image = opened(replace(art, motif=motif, caption="Зима"), 2)
    ground = opened(replace(art, motif="hills"), 2).getpixel((44, 124))
    for point in ((44, 118), (60, 124), (90, 168)):
        assert max(abs(a - b) for a, b in zip(image.getpixel(point), ground, strict=True)) < 40


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("state", [{}, {"stamps": StampCard(filled=3, total=8)}, {"bar": GoalBar(1, 3)}])
def test_a_line_of_text_fits_however_long(scale, state):
    long = opened(replace(ART, caption="Щ" * 60, **state), scale)
    edge = long.crop((long.width - 12 * scale, 0, long.width, 60 * scale))
    assert max(band[1] for band in edge.getextrema()) < 140, "the text reaches the right edge"


def test_the_same_strip_has_one_name_and_each_other_strip_its_own():
    same = StripArt(background="#16324F", foreground="#FFFFFF", accent="#F2C14E")
    assert same.digest == ART.digest
    assert strip_png(same, 1) == strip_png(ART, 1)
    others = [
        replace(ART, motif="snow"),
        replace(ART, caption="Зима"),
        replace(ART, glyph="cup", stamps=StampCard(filled=1, total=5)),
        replace(ART, glyph="cup", stamps=StampCard(filled=2, total=5)),
        replace(ART, bar=GoalBar(1, 5)),
        replace(ART, accent="#FFFFFF"),
    ]
    assert len({art.digest for art in (ART, *others)}) == 7
    assert len({strip_png(art, 1) for art in (ART, *others)}) == 7


def test_google_s_picture_has_the_same_state():
    assert google_hero_png(replace(ART, bar=GoalBar(1, 5))) != google_hero_png(replace(ART, bar=GoalBar(2, 5)))


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("strip.background", {"background": "blue"}),
        ("strip.accent", {"accent": ""}),
        ("strip.motif", {"motif": "fog"}),
        ("strip.glyph", {"glyph": "skull"}),
        ("strip.bar.glyph", {"bar": GoalBar(1, 2, "skull")}),
        ("strip.bar", {"bar": GoalBar(3, 2)}),
        ("strip.bar", {"bar": GoalBar(1, 101)}),
        ("strip.bar", {"bar": GoalBar(1, 2), "stamps": StampCard(filled=1, total=2)}),
        ("strip.caption", {"caption": "x" * 61}),
    ],
)
def test_a_strip_that_cannot_be_drawn_is_refused(where, changes):
    with pytest.raises(PassContentError) as caught:
        replace(ART, **changes)
    assert caught.value.where == where
