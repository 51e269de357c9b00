"""SAMOSA's motion model in NumPy against torch's LSTM, and the frame it works in."""

import numpy as np
import pytest
import torch
from policy_cases import motion_weights

from mosam.errors import MismatchError
from mosam.policies.lstm import BoxLstm, with_changes


def torch_model(arrays):
    """The same arrays in torch's modules, as the program has them."""
    rnn, fc = torch.nn.LSTM(8, 64, num_layers=4, batch_first=True), torch.nn.Linear(64, 8)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    rnn.load_state_dict({name[4:]: tensor for name, tensor in tensors.items() if name.startswith("rnn.")})
    fc.load_state_dict({name[3:]: tensor for name, tensor in tensors.items() if name.startswith("fc.")})
    return lambda steps: fc(rnn(torch.from_numpy(steps)[None])[0][0, -1]).detach().numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_torch_s_lstm(seed):
    arrays = motion_weights(seed, (30.0, 40.0))
    ours, theirs = BoxLstm(arrays), torch_model(arrays)
    for length in (1, 5, 9):
        steps = np.random.default_rng(seed).normal(0, 30, (length, 8)).astype(np.float32)
        assert ours.step(steps) == pytest.approx(theirs(steps), abs=1e-4)


def walk(x: float, y: float) -> list[np.ndarray]:
    history: list[np.ndarray] = []
    for k in range(5):
        box = np.array([x + 3 * k, y + k, x + 3 * k + 40, y + k + 50])
        history.append(with_changes(box, history[-1] if history else None))
    return history


def test_where_the_walk_begins_does_not_matter():
    model = BoxLstm(motion_weights(3, (40.0, 50.0)))
    here, there = model.expected(walk(100, 200)), model.expected(walk(400, 300))
    assert there - here == pytest.approx([300, 100, 300, 100], abs=1e-4)
    assert 10 < here[2] - here[0] < 70, "these weights expect a box of about that size"


def test_nothing_is_below_zero():
    arrays = motion_weights(3, (-40.0, 50.0))
    box = BoxLstm(arrays).expected(walk(0, 0))
    assert (box >= 0).all()
    assert box[2] == box[0], "a width below zero is none"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda arrays: arrays.pop("fc.bias"), "fc.bias"),
        (lambda arrays: arrays.update(extra=np.zeros(3, np.float32)), "extra"),
        (lambda arrays: arrays.update({"rnn.weight_hh_l2": np.zeros((256, 8), np.float32)}), "rnn.weight_hh_l2"),
        (lambda arrays: arrays.clear(), "fc.bias"),
    ],
)
def test_arrays_of_another_model(change, named):
    arrays = motion_weights(0, (1.0, 1.0))
    change(arrays)
    with pytest.raises(MismatchError, match=f"expected an LSTM of boxes.*{named}"):
        BoxLstm(arrays)
