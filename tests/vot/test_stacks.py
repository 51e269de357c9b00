from __future__ import annotations

import pytest

from mosam.datasets.base import DATASETS
from mosam.errors import MissingDataError, UnknownNameError
from mosam.vot.stacks import NEW, OLD, STACKS, find_stack


@pytest.mark.parametrize(
    ("name", "toolkit", "dataset"),
    [
        ("vot2019/shortterm", OLD, "vot2019"),
        ("vot2022/shorttermbox", OLD, "vot2022-stb"),
        ("vot2018/longterm", OLD, "vot2018-lt"),
        ("vots2023", NEW, "vots2023"),
        ("vots2026/main", NEW, "vots2026"),
        ("vot2022/rgbd", OLD, None),
    ],
)
def test_a_stack_has_its_toolkit_and_our_dataset(name, toolkit, dataset):
    assert (find_stack(name).toolkit, find_stack(name).dataset) == (toolkit, dataset)


def test_every_dataset_named_is_ours_and_each_of_vot_is_named():
    named = {stack.dataset for stack in STACKS.values()} - {None}
    assert named == {name for name in DATASETS if name.startswith("vot")}


def test_a_stack_may_go_by_the_name_of_our_dataset():
    assert find_stack("vot2020-st").name == "vot2020/shortterm"


def test_an_unknown_stack_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean vot2022/shortterm"):
        find_stack("vot2022/shorterm")


def test_a_file_is_looked_for_in_the_workspace_too(tmp_path):
    (tmp_path / "mine.yaml").write_text("title: mine\n")
    assert find_stack("mine.yaml", inside=tmp_path).path == tmp_path / "mine.yaml"
    with pytest.raises(MissingDataError, match="expected a stack file"):
        find_stack("other.yaml", inside=tmp_path)
