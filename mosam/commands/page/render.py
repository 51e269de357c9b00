"""From plain values to a page that needs nothing else and runs nothing but the script it was made with."""

from __future__ import annotations

import base64
import colorsys
import functools
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mosam.evaluation.figures.style import color

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent
DARK = "#15181d"  # background of the page in dark mode
CONTRAST = 4.5  # of a line against it; WCAG 2.2, 1.4.11 asks for 3
Palette: TypeAlias = Sequence[Mapping[str, str]]


def render(template: Path, context: Mapping[str, Any], *, colors: Palette = ()) -> str:
    """A page: everything is escaped but the style and the script, whose hashes the page's own policy demands.

    Args:
        template: extends `base.html.jinja`; may use the macros of `table.html.jinja`.
        context: what it shows.
        colors: of `palette`.
    """
    style, script = _style(tuple((one["name"], one["light"], one["dark"]) for one in colors)), _text("page.js")
    hashes = {"style_hash": _hash(style), "script_hash": _hash(script)}
    made = _environment(template.parent).get_template(template.name)
    return made.render(**context, style=style, script=script, **hashes)


@functools.lru_cache
def _environment(folder: Path) -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, HERE]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


@functools.lru_cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@functools.lru_cache
def _style(colors: tuple[tuple[str, str, str], ...]) -> str:
    light = " ".join(f"--{name}: {value};" for name, value, _ in colors)
    dark = " ".join(f"--{name}: {value};" for name, _, value in colors)
    own = "\n".join(f".{name} {{ --own: var(--{name}); }}" for name, _, _ in colors)
    dark_mode = "@media (prefers-color-scheme: dark)"
    return f":root {{ {light} }}\n{dark_mode} {{ :root {{ {dark} }} }}\n{own}\n{_text('page.css')}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def data_url(text: str, kind: str) -> str:
    """A text as the address of itself, of a media type."""
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def sortable(value: float) -> float | None:
    """What a cell is sorted by; None = always last."""
    return None if math.isnan(value) else value


# ---------------------------------------------------------------------------------------------- colors


def color_class(tracker: str) -> str:
    """The class of a tracker's color."""
    return f"c{color(tracker).removeprefix('#').lower()}"


def palette(trackers: Iterable[str]) -> Palette:
    """Each tracker's color in light and, made light enough to be seen, in dark mode."""
    used = dict.fromkeys(map(color, trackers))
    return [{"name": f"c{one.removeprefix('#').lower()}", "light": one, "dark": _lightened(one)} for one in used]


def _lightened(text: str) -> str:
    """The color with as much more lightness as it needs to stand out from `DARK`."""
    r, g, b = _parts(text)
    hue, light, saturation = colorsys.rgb_to_hls(r, g, b)
    while _contrast((r, g, b), _parts(DARK)) < CONTRAST and light < 1:
        light = min(1.0, light + 0.02)
        r, g, b = colorsys.hls_to_rgb(hue, light, saturation)
    if saturation == 0:  # black and grays turn over
        r = g = b = max(r, 0.88)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (r, g, b))


def _parts(text: str) -> tuple[float, float, float]:
    red, green, blue = (int(text[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def _contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """WCAG's contrast ratio of two colors, parts in [0, 1]."""

    def luminance(parts: Sequence[float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
