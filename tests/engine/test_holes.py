import numpy as np
import torch

from mosam.engine.holes import fill_holes
from mosam.model.constants import FILLED_LOGIT


def ring(hole: int) -> torch.Tensor:
    """A filled square with a `hole` by `hole` gap."""
    low_res = torch.full((1, 1, 16, 16), -5.0)
    low_res[..., 2:14, 2:14] = 5.0
    low_res[..., 6 : 6 + hole, 6 : 6 + hole] = -1.0
    return low_res


def test_small_holes_are_filled_and_large_ones_stay():
    filled = fill_holes(ring(2), 8)
    assert (filled[0, 0, 6:8, 6:8] == FILLED_LOGIT).all()
    assert torch.equal(filled[0, 0, :2], ring(2)[0, 0, :2])
    assert torch.equal(fill_holes(ring(3), 8), ring(3))
    assert (fill_holes(ring(3), 9)[0, 0, 6:9, 6:9] == FILLED_LOGIT).all()


def test_diagonal_neighbors_are_one_component():
    low_res = torch.full((1, 1, 8, 8), 3.0)
    for i in range(4):
        low_res[0, 0, i + 2, i + 2] = -1.0
    assert (fill_holes(low_res, 3) < 0).sum() == 4
    assert (fill_holes(low_res, 4) > 0).all()


def test_each_mask_by_itself_and_argument_untouched():
    low_res = torch.cat([ring(2), ring(4), torch.full((1, 1, 16, 16), -1.0)])
    before = low_res.clone()
    filled = fill_holes(low_res, 8)
    assert torch.equal(low_res, before)
    assert np.array_equal((filled != before).flatten(1).sum(1).numpy(), [4, 0, 0])
