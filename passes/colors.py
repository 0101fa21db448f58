"""Colours ``#RRGGBB``: how well one is read upon another.

Source: WCAG 2.2, "relative luminance", "contrast ratio" and 1.4.3 (w3.org/TR/WCAG22).
"""

from __future__ import annotations

TEXT_CONTRAST_MIN = 4.5
"""What text wants (WCAG 2.2, 1.4.3, level AA)."""
LARGE_TEXT_CONTRAST_MIN = 3.0
"""What large text and pictures want at least (1.4.3 and 1.4.11)."""

Rgb = tuple[int, int, int]


def rgb(color: str) -> Rgb:
    """Return the three parts, 0 to 255, of a colour ``#RRGGBB``."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def luminance(color: Rgb) -> float:
    """Return the relative luminance, 0 (black) to 1 (white)."""
    parts = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in color)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast_of(one: Rgb, other: Rgb) -> float:
    """Return the contrast of two colours, 1 (the same) to 21 (black on white); their order does not matter."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def contrast(foreground: str, background: str) -> float:
    """Return the contrast of two ``#RRGGBB`` colours, 1 to 21; text wants `TEXT_CONTRAST_MIN`."""
    return contrast_of(rgb(foreground), rgb(background))
