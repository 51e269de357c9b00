import pytest

from mosam.errors import MosamError
from mosam.tracking.plan import RunOptions, plan_runs


@pytest.mark.parametrize(("asked", "recorded"), [(None, "inclusive"), ("exclusive", "exclusive")])
def test_boxes_of_toy_are_recorded_as_they_are_written(asked, recorded):
    [planned] = plan_runs(RunOptions("toy", tracker="sam2", model="random:nano", box_from_mask=asked))
    assert planned.output.box_from_mask == recorded


def test_an_unknown_box_convention_names_its_option():
    with pytest.raises(MosamError, match="--box-from-mask: expected one of exclusive, inclusive"):
        plan_runs(RunOptions("toy", tracker="sam2", box_from_mask="both"))
