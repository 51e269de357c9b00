"""What the pages of `mosam report` and `mosam board` share: their frame, tables, style, script, colors and escaping."""

from mosam.commands.page.render import Palette, color_class, data_url, palette, render, sortable

__all__ = ["Palette", "color_class", "data_url", "palette", "render", "sortable"]
