"""Prototypes, priors and the check in a cycle against the same formulas written out in NumPy."""

import numpy as np
import pytest
import torch

from mosam.engine import likeness

GRID, WIDTH = 5, 8


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-7))


def mean_under(features: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(C,) of (C, g, g) under (g, g); zeros under nothing."""
    return (features * cells).sum((1, 2)) / max(cells.sum(), 1e-9)


def code() -> np.ndarray:
    """(C, g, g): sines and cosines of the row in the first half of the channels, of the column in the second."""
    half = WIDTH // 2
    out = np.zeros((WIDTH, GRID, GRID))
    for row in range(GRID):
        for column in range(GRID):
            for k in range(half // 2):
                rate = 10_000 ** (-2 * k / half)
                for start, place in ((0, row), (half, column)):
                    out[start + 2 * k, row, column] = np.sin(place * rate)
                    out[start + 2 * k + 1, row, column] = np.cos(place * rate)
    return out


def near(cells: np.ndarray) -> np.ndarray:
    where = code()
    place = mean_under(where, cells)
    like = np.array([[cosine(where[:, r, c], place) for c in range(GRID)] for r in range(GRID)])
    return (like - like.min()) / (like.max() - like.min() + 1e-7)


def prior(features: np.ndarray, own: np.ndarray, around: np.ndarray, close: np.ndarray) -> np.ndarray:
    more = np.zeros((GRID, GRID))
    for r in range(GRID):
        for c in range(GRID):
            here = features[:, r, c]
            more[r, c] = max(0.0, (cosine(here, own) - cosine(here, around)) / 2) * close[r, c]
    return more / (more.max() + 1e-7)


@pytest.fixture
def scene():
    """Features and masks of three memories, and those of a frame."""
    rng = np.random.default_rng(4)
    views, cells = rng.normal(size=(3, WIDTH, GRID, GRID)), rng.random((3, GRID, GRID)) < 0.4
    body = rng.normal(size=WIDTH)
    views += 2 * body[:, None, None] * cells[:, None]
    frame = rng.normal(size=(WIDTH, GRID, GRID))
    frame[:, 1:3, 2:4] += 2 * body[:, None, None]
    return views, cells, frame


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array).float() if array.dtype != bool else torch.from_numpy(array) for array in arrays]


def test_places():
    assert likeness.place_code(GRID, WIDTH, torch.device("cpu")).numpy() == pytest.approx(code(), abs=1e-6)
    cells = np.zeros((2, GRID, GRID), dtype=bool)
    cells[0, 1, 3] = True
    found = likeness.near(torch.from_numpy(cells), WIDTH)
    assert found[0].numpy() == pytest.approx(near(cells[0]), abs=1e-5)
    assert divmod(int(found[0].argmax()), GRID) == (1, 3)
    assert (found[1] == 0).all(), "a mask on no cell is nowhere"


def test_the_dense_prompt_is_the_mean_prior(scene):
    views, cells, frame = scene
    own = [mean_under(view, on) for view, on in zip(views, cells, strict=True)]
    around = [mean_under(view, ~on) for view, on in zip(views, cells, strict=True)]
    mean = np.mean([prior(frame, a, b, near(cells[1])) for a, b in zip(own, around, strict=True)], axis=0)
    query, there, on = tensors(frame, views, cells)
    found = likeness.dense_prompt(query, there, on, on[1], (GRID, GRID))
    assert found[0].numpy() == pytest.approx(20 * mean - 10, abs=1e-4)
    larger = likeness.dense_prompt(query, there, on, on[1], (16 * GRID, 4 * GRID))
    assert larger.shape == (1, 4 * GRID, 4 * GRID)
    assert larger.mean() == pytest.approx(found.mean(), abs=0.5)


def test_the_cycle_finds_the_masks_again(scene):
    views, cells, frame = scene
    masks = np.full((3, GRID, GRID), -5.0)
    masks[0, 1:3, 2:4] = 5.0
    masks[1, 4, :] = 5.0
    top, logits, there, on = tensors(frame, masks, views, cells)
    found = likeness.cycle_iou(top, logits, there, on).numpy()
    for k in range(3):
        mask = masks[k] > 0
        own, around = mean_under(frame, mask), mean_under(frame, ~mask)
        again = np.stack([prior(view, own, around, near(mask)) >= 0.5 for view in views])
        assert found[k] == pytest.approx((again & cells).sum() / (again | cells).sum(), abs=1e-6)
    assert found[0] > found[1]
    assert found[2] == 0, "a mask on no cell finds nothing"


def test_prototypes_are_means():
    features = torch.arange(2 * 3 * 4, dtype=torch.float32).view(2, 3, 2, 2)
    weights = torch.tensor([[[1.0, 0], [0, 0]], [[1, 1], [0, 0.5]], [[0, 0], [0, 0]]]).expand(2, 3, 2, 2)
    found = likeness.prototypes(features, weights)
    assert found[0, 0].tolist() == features[0, :, 0, 0].tolist()
    assert found[1, 1] == pytest.approx(((features[1] * weights[1, 1]).sum((1, 2)) / 2.5).numpy())
    assert (found[:, 2] == 0).all()


def test_cells_a_mask_lies_on():
    logits = torch.full((1, 1, 16, 16), -1.0)
    logits[..., 4:8, 4:10] = 3.0
    inside, covered = likeness.inside(logits, 4)[0, 0], likeness.covered(logits, 4)[0, 0]
    assert inside.nonzero().tolist() == [[1, 1], [1, 2]], "the middle of the second cell is between 3 and -1"
    assert (covered[1, 1], covered[1, 2], covered.sum()) == (1, 0.5, 1.5)
