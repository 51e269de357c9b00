"""Runs to report on: made videos, results that lose the object, records and scores; and a reader of pages."""

import dataclasses
import json
from html.parser import HTMLParser

import numpy as np

from mosam.datasets.base import load_dataset
from mosam.datasets.make import make_tree
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.scores import Scores, save_scores
from mosam.results.record import RunRecord, RunSettings, SequenceRecord

VOID = {"meta", "link", "img", "input", "br", "hr", "wbr"}


def made_lasot(folder, frames=30):
    """A tree of two videos in `folder/lasot`."""
    make_tree("lasot", folder / "lasot", split="test", sequences=2, frames=frames)
    return load_dataset("lasot", root=folder / "lasot")


def tracked(folder, dataset, tracker, *, shift, model=None, skip=()):
    """A run whose boxes are off by `shift` pixels on the second half; scored, with a record where it has a model."""
    out = folder / "results" / "lasot" / f"{tracker}-{model}"
    out.mkdir(parents=True)
    names = [name for name in dataset if name not in skip]
    for name in names:
        boxes = dataset[name].truth.boxes.copy()
        boxes[len(boxes) // 2 :, 0] += shift
        np.savetxt(out / f"{name}.txt", np.nan_to_num(boxes), fmt="%.3f", delimiter=",")
    if model is not None:
        settings = RunSettings(
            "lasot", "test", "box", 0, tracker, {"stride": int(shift)}, model, "0" * 64, "fp32", "cpu", {}, {}, {}
        )
        record = RunRecord(
            settings,
            environment={"code": {"version": "0.1.0"}, "python": "3.11"},
            sequences={name: SequenceRecord("done", 30, 2.0) for name in names},
        )
        (out / "run.json").write_text(json.dumps(record.to_json()))
    save_scores(out / "scores.json", evaluate(out, dataset, allow_missing=bool(skip)))
    return out


def made_scores(tracker="sam2", sequences=("a", "b"), **more):
    """Scores without anything beside them."""
    values = {name: {"success_auc": 0.5 + 0.1 * number} for number, name in enumerate(sequences)}
    made = Scores("lasot", "test", tracker, None, "pytracking", {"success_auc": 0.55}, values)
    return dataclasses.replace(made, **more)


class Page(HTMLParser):
    """What a page holds: elements with their attributes, and all text; tags must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._open = [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag, **wanted):
        """Attributes of the elements of a tag."""
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in wanted.items())]

    @property
    def words(self):
        """All text, with single blanks."""
        return " ".join(" ".join(self.text).split())
