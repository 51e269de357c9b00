"""LaSOT extension subset: 150 more sequences of 15 classes that LaSOT's training does not show; all are test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from mosam.datasets.annotations import official_list, read_names
from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.lasot import LISTS, Lasot, class_archives, write_lasot
from mosam.datasets.made import TreePlan
from mosam.datasets.obtain import Obtain


@DATASETS.register("lasot-ext")
class LasotExt(Lasot):
    """The extension subset, laid out as LaSOT.

    The data set has 2,703 annotated frames of `paddle-1`, the official evaluation 2,500, and they differ on `paddle-10`
    too (formats.md 2): the rows that are there decide how many frames count.
    """

    name = "lasot-ext"
    cut_sequences: ClassVar[frozenset[str]] = frozenset({"paddle-1", "paddle-10"})
    info = DatasetInfo(
        title="LaSOT extension subset",
        task="box",
        splits=("test",),
        default_split="test",
        prompts=("box",),
        protocol="pytracking",
        result_format="lasot",
        official_counts={"test": 150},
        license="research use; the benchmark's page says more",
        source="http://vision.cs.stonybrook.edu/~lasot/",
        obtain=Obtain(
            "fetch",
            "The authors' copy on the hub, an archive for each of 15 classes.",
            None,
            "its page on the hub",
            lambda split: (class_archives("l-lt/LaSOT-ext", "lasot_ext_test"),),
        ),
        metrics=("success_auc", "precision", "norm_precision", "op50", "op75"),
        tree="""\
LaSOT_extension_subset/
  <class>/<class>-<n>/                         (or <class>-<n>/ without the class folder)
    img/00000001.jpg ...                       (not needed for scoring)
    groundtruth.txt                            (x,y,w,h on each line)
    full_occlusion.txt, out_of_view.txt        (or absent.txt, their union)""",
    )

    def list_names(self) -> Iterable[str]:
        """The official names; a `testing_set.txt` of some of them wins, LaSOT's own in the same folder does not."""
        official = self.official_names()
        assert self.root is not None
        own = self.root / LISTS["test"]
        listed = read_names(own) if own.is_file() else official
        names = listed if set(listed) <= set(official) else official
        if not any(self._folder(name) for name in names):
            raise self.layout_error(f"found none of its {len(names)} sequences")
        return names

    def official_names(self) -> tuple[str, ...]:
        """All 150 sequences."""
        return official_list("lasot_ext_test")

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        write_lasot(plan, official_list("lasot_ext_test"), LISTS["test"], origin=0)
