"""A table and its layouts: text, Markdown, LaTeX, CSV. Knows nothing of scores."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mosam.errors import UnknownNameError, printable

MISSING = "-"  # shown for a value that is undefined
BEST, SECOND = 1, 2  # ranks that are marked
WIDEST = 100  # letters of a line of text


@dataclass(frozen=True, slots=True)
class Table:
    """A table before it is laid out.

    Attributes:
        title: one line above it.
        header: of each column; the first columns name the row.
        rows: text of each cell.
        marks: of each row what must be known of it (`5 of 280 official sequences`), or None.
        names: how many columns at the left are names (set flush left).
        notes: lines below it.
        ranks: as `rows`, the rank of each cell (1 is best, 0 is none); empty = nothing to mark.
        details: as `rows`, text that follows a cell and is never marked (an interval); empty = none.
        full: as `rows`, what CSV writes instead: numbers with all their digits; empty = nothing else.
        groups: of each row the group it is in; LaTeX brings groups together, with a rule between. Empty = one group.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str | None, ...]
    names: int = 1
    notes: tuple[str, ...] = ()
    ranks: tuple[tuple[int, ...], ...] = ()
    details: tuple[tuple[str, ...], ...] = ()
    groups: tuple[str, ...] = ()
    full: tuple[tuple[str, ...], ...] = ()

    @property
    def signs(self) -> dict[str, str]:
        """Asterisks for each different mark."""
        marks = dict.fromkeys(mark for mark in self.marks if mark)
        return {mark: "*" * (position + 1) for position, mark in enumerate(marks)}

    @property
    def signed_notes(self) -> list[str]:
        """The notes, those that explain signs first."""
        return [f"{sign} {mark}" for mark, sign in self.signs.items()] + list(self.notes)

    def cells(self, style: Style, *, mark: bool) -> list[list[str]]:
        """The rows as a format writes them: escaped, named ones signed, best and second marked, details added.

        Args:
            style: of the format.
            mark: whether best and second are marked.
        """
        signs, templates = self.signs, style.marks if mark and self.ranks else {}
        plain = templates.get(0, "{}")
        lines = []
        for number, (row, note) in enumerate(zip(self.rows, self.marks, strict=True)):
            ranks = self.ranks[number] if templates else (0,) * len(row)
            details = self.details[number] if self.details else ("",) * len(row)
            line = [style.escape(cell) for cell in row[: self.names]]
            for cell, rank, detail in list(zip(row, ranks, details, strict=True))[self.names :]:
                text = templates.get(rank, plain).format(style.escape(cell))
                line.append(f"{text} {style.escape(detail)}" if detail else text)
            if note:
                line[0] += style.sign(signs[note])
            lines.append(line)
        return lines


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a line: its text, its rank (1 is best, 0 is none), and what follows it and is never marked.

    `full` is what CSV has instead of the text, if anything.
    """

    text: str
    rank: int = 0
    detail: str = ""
    full: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A row before it is part of a table.

    Attributes:
        names: the cells at the left that name it.
        cells: its numbers.
        mark: what must be known of it, or None.
        group: see `Table.groups`.
    """

    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    mark: str | None = None
    group: str = ""


def assemble(title: str, header: Iterable[str], lines: Sequence[Line], notes: Iterable[str] = ()) -> Table:
    """The table of some lines, all with the same number of names.

    Args:
        title, notes: see `Table`.
        header: of the names and the cells.
        lines: at least one.
    """
    names = len(lines[0].names)
    details = tuple((*("",) * names, *(cell.detail for cell in line.cells)) for line in lines)
    return Table(
        title,
        tuple(header),
        tuple((*line.names, *(cell.text for cell in line.cells)) for line in lines),
        tuple(line.mark for line in lines),
        names,
        tuple(notes),
        ranks=tuple((*(0,) * names, *(cell.rank for cell in line.cells)) for line in lines),
        details=details,
        groups=tuple(line.group for line in lines),
        full=tuple((*line.names, *(cell.full or cell.text for cell in line.cells)) for line in lines),
    )


@dataclass(frozen=True, slots=True)
class Style:
    """How a format writes a cell.

    Attributes:
        escape: makes any text safe.
        marks: template of a cell by its rank, 0 for the ones that are not marked.
        sign: of a row, from its asterisks.
    """

    escape: Callable[[str], str]
    marks: Mapping[int, str]
    sign: Callable[[str], str]


def render(table: Table, format: str = "text", *, mark: bool | None = None) -> str:
    """A table as text.

    Args:
        table: what to lay out.
        format: one of `FORMATS`. `csv` has a column of marks instead of signs, and no notes, details or best values.
        mark: whether the best and second value of a column are marked; None = in LaTeX only. Markdown and LaTeX write
            them bold and underlined, text puts a raised 1 and 2 behind them.
    Raises:
        UnknownNameError: another format.
    """
    if format not in FORMATS:
        raise UnknownNameError("table format", format, FORMATS)
    return FORMATS[format](table, format == "latex" if mark is None else mark)


def ranks_as_shown(cells: Sequence[str], *, lower: bool) -> list[int]:
    """Ranks of values as a reader sees them, so that equal text shares a rank; the next value has the next rank.

    Args:
        cells: numbers as text, `-` where undefined.
        lower: whether less is better.
    Returns:
        1 for the best; 0 for undefined ones, and for all where fewer than two are defined.

    >>> ranks_as_shown(["50.0", "-", "49.0", "50.0"], lower=False)
    [1, 0, 2, 1]
    """
    defined = [float(cell) for cell in cells if cell != MISSING]
    order = sorted(set(defined), reverse=not lower) if len(defined) > 1 else []
    return [order.index(float(cell)) + 1 if order and cell != MISSING else 0 for cell in cells]


# ---------------------------------------------------------------------------------------------- text


def _text(table: Table, mark: bool) -> str:
    """Columns side by side; what is wider than `WIDEST` goes on below, behind the names of the rows again."""
    rows = table.cells(_TEXT, mark=mark)
    columns = list(zip(table.header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: Sequence[str], block: Sequence[int]) -> str:
        padded = [
            cells[number].ljust(widths[number]) if number < table.names else cells[number].rjust(widths[number])
            for number in block
        ]
        return "  ".join(padded).rstrip()

    lines = [table.title]
    for block in _blocks(widths, table.names):
        rule = "-" * (sum(widths[number] for number in block) + 2 * (len(block) - 1))
        lines += [rule, line(table.header, block), rule, *(line(row, block) for row in rows)]
    return "\n".join([*lines, rule, *table.signed_notes])


def _blocks(widths: Sequence[int], names: int) -> list[list[int]]:
    """Numbers of the columns that stand side by side, the first `names` of them in every block.

    >>> _blocks([10, 40, 40, 40, 40], 1)
    [[0, 1, 2], [0, 3, 4]]
    """
    head = list(range(names))
    room = WIDEST - sum(widths[:names]) - 2 * (names - 1)
    blocks: list[list[int]] = [[]]
    for number in range(names, len(widths)):
        if blocks[-1] and sum(widths[k] + 2 for k in (*blocks[-1], number)) > room:
            blocks.append([])
        blocks[-1].append(number)
    return [[*head, *block] for block in blocks]


# ---------------------------------------------------------------------------------------------- Markdown


def _markdown(table: Table, mark: bool) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rules = [":--" if number < table.names else "--:" for number in range(len(table.header))]
    rows = table.cells(_MARKDOWN, mark=mark)
    header = line(map(_MARKDOWN.escape, table.header))
    lines = [f"**{table.title}**", "", header, f"| {' | '.join(rules)} |", *map(line, rows)]
    notes = [note.replace("*", "\\*") for note in table.signed_notes]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _escape_markdown(text: str) -> str:
    return printable(text).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


# ---------------------------------------------------------------------------------------------- LaTeX

_LATEX_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
}


def escape_latex(text: str) -> str:
    r"""Any text as LaTeX that prints it, also at the start of a row, where `[` and `*` are arguments of the row's end.

    >>> escape_latex("a_b & 50%"), escape_latex("[x]")
    ('a\\_b \\& 50\\%', '{[}x]')
    """
    escaped = "".join(_LATEX_SPECIAL.get(character, character) for character in printable(text, keep="\n"))
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


def _latex(table: Table, mark: bool) -> str:
    groups = table.groups or ("",) * len(table.rows)
    rows = table.cells(_LATEX, mark=mark)
    blocks = [
        [f"{' & '.join(row)} \\\\" for row, own in zip(rows, groups, strict=True) if own == group]
        for group in dict.fromkeys(groups)
    ]
    lines = "\n\\midrule\n".join("\n".join(block) for block in blocks)
    numbers = len(table.header) - table.names
    return "\n".join(
        [
            f"% {table.title}".replace("\n", " "),
            r"% \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{'l' * table.names}{'r' * numbers}}}",
            r"\toprule",
            f"{' & '.join(map(escape_latex, table.header))} \\\\",
            r"\midrule",
            lines,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par{{\footnotesize {escape_latex(note)}\par}}" for note in table.signed_notes),
        ]
    )


# ---------------------------------------------------------------------------------------------- CSV


def _csv(table: Table, mark: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [(title, *cells) for title, *cells in zip(table.header, *(table.full or table.rows), strict=True)]
    if table.details:
        for column in range(len(table.header) - 1, table.names - 1, -1):
            details = tuple(row[column] for row in table.details)
            if any(details):
                columns.insert(column + 1, (f"{table.header[column]} interval", *details))
    if any(table.marks):
        columns.append(("Subset", *(mark or "" for mark in table.marks)))
    writer.writerows(["" if cell == MISSING else printable(cell) for cell in row] for row in zip(*columns, strict=True))
    return out.getvalue().rstrip("\n")


# a blank behind the other numbers keeps the digits in line
_TEXT = Style(printable, {BEST: "{}¹", SECOND: "{}²", 0: "{} "}, lambda sign: f" {sign}")
_MARKDOWN = Style(_escape_markdown, {BEST: "**{}**", SECOND: "<u>{}</u>"}, lambda sign: " " + _escape_markdown(sign))
_LATEX = Style(escape_latex, {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}, lambda sign: f"$^{{{sign}}}$")

FORMATS: Mapping[str, Callable[[Table, bool], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
}
