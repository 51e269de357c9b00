"""What the site does besides mkdocs: it leaves out pages of the menu that are not written, and links to outside."""

import re
from pathlib import Path

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config):
    """The menu, of pages that are there; pages that are there and not in it come last."""
    docs = Path(config["docs_dir"])

    def present(items):
        kept = []
        for item in items:
            ((title, target),) = item.items()
            if isinstance(target, list):
                kept.append({title: present(target)})
            elif (docs / target).is_file():
                kept.append(item)
        return kept

    listed = set(re.findall(r"[\w-]+\.md", str(config["nav"])))
    others = sorted(path.name for path in docs.glob("*.md") if path.name not in listed)
    config["nav"] = present(config["nav"])
    if others:
        config["nav"].append({"More": others})
    return config


def on_page_markdown(markdown, page, config, files):
    """Links to files of the repository, and to pages of the menu that are not written, become their text."""
    docs = Path(config["docs_dir"])

    def plain(match):
        text, target, _ = match.groups()
        outside = target.startswith("../") or target in ("CONTRIBUTING.md", "README.md")
        missing = re.fullmatch(r"[\w-]+\.md", target) is not None and not (docs / target).is_file()
        return text if outside or (missing and target in _menu()) else match.group(0)

    return LINK.sub(plain, markdown)


def _menu():
    """Every page that mkdocs.yml names, written or not."""
    text = (Path(__file__).resolve().parents[1] / "mkdocs.yml").read_text(encoding="utf-8")
    return set(re.findall(r"[\w-]+\.md", text.partition("\nnav:")[2]))
