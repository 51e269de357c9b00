"""SAMOSA's motion model: an LSTM that continues a short history of boxes.

Source: `MotionPredictor` and `LSTMMarkovModel` of DurYi/SAMOSA at 1ca2c2c (`utils/motion_predictor/predictor.py`), in
fp32 as there. A step of the history is x, y, w, h and their changes since the step before; the center of the first box
is the origin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mosam.errors import MismatchError

STATE = 8  # numbers of one step


class BoxLstm:
    """The motion model with its weights.

    Args:
        arrays: by the names that torch gives them: `rnn.weight_ih_l0` (4 * hidden, 8) and so on, gates in the order
            input, forget, cell, output; `fc.weight` (8, hidden) and `fc.bias`.
    Raises:
        MismatchError: arrays of another model.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.float32]]):
        layers = 1 + max((int(n) for n in re.findall(r"rnn\.weight_ih_l(\d+)\b", " ".join(arrays))), default=-1)
        hidden = arrays["fc.weight"].shape[-1] if "fc.weight" in arrays else 0
        shapes: dict[str, tuple[int, ...]] = {"fc.weight": (STATE, hidden), "fc.bias": (STATE,)}
        for layer in range(layers):
            shapes |= {
                f"rnn.weight_ih_l{layer}": (4 * hidden, hidden if layer else STATE),
                f"rnn.weight_hh_l{layer}": (4 * hidden, hidden),
                f"rnn.bias_ih_l{layer}": (4 * hidden,),
                f"rnn.bias_hh_l{layer}": (4 * hidden,),
            }
        got = {name: array.shape for name, array in arrays.items()}
        if not layers or got != shapes:
            wrong = sorted(name for name in {*got, *shapes} if got.get(name) != shapes.get(name))
            raise MismatchError(f"motion model: expected an LSTM of boxes, got other arrays: {', '.join(wrong[:3])}")
        self._layers = [
            tuple(arrays[f"rnn.{kind}_l{layer}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            for layer in range(layers)
        ]
        self._out = arrays["fc.weight"], arrays["fc.bias"]

    def step(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(8,) the next step of (T, 8) steps."""
        for weights in self._layers:
            inputs = _layer(inputs, *weights)
        weight, bias = self._out
        return weight @ inputs[-1] + bias

    def expected(self, history: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """(4,) x0, y0, x1, y1 of the next box; nothing of x, y, w, h is below 0.

        Args:
            history: (8,) steps, oldest first.
        """
        steps = np.array(history, dtype=np.float64)
        origin = steps[0, :2] + steps[0, 2:4] / 2
        steps[:, :2] -= origin
        x, y, w, h = self.step(steps.astype(np.float32))[:4].astype(np.float64)
        corner = np.maximum(np.array([x, y]) + origin, 0)
        return np.concatenate((corner, corner + np.maximum((w, h), 0)))


def with_changes(box: NDArray[np.float64], before: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """(8,) step of a box of (4,) corners after the step `before`; without one nothing has changed.

    >>> with_changes(np.array([1.0, 2.0, 4.0, 6.0]), None)
    array([1., 2., 3., 4., 0., 0., 0., 0.])
    """
    step = np.concatenate((box[:2], box[2:] - box[:2]))
    return np.concatenate((step, np.zeros(4) if before is None else step - before[:4]))


def _layer(
    inputs: NDArray[np.float32],
    weight_ih: NDArray[np.float32],
    weight_hh: NDArray[np.float32],
    bias_ih: NDArray[np.float32],
    bias_hh: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(T, hidden) outputs of one layer."""
    hidden = cell = np.zeros(weight_hh.shape[1], dtype=np.float32)
    outputs = []
    for given in inputs @ weight_ih.T + bias_ih:
        into, forget, new, out = np.split(given + weight_hh @ hidden + bias_hh, 4)
        cell = _sigmoid(forget) * cell + _sigmoid(into) * np.tanh(new)
        hidden = _sigmoid(out) * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs)


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return 0.5 * (1 + np.tanh(0.5 * x))  # does not overflow
