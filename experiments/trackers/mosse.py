"""MOSSE (Bolme et al., CVPR 2010): a correlation filter in NumPy."""

import numpy as np

__version__ = "1.0"


class Mosse:
    """Follows a box by correlation with a filter that is learned on the way; its size stays.

    Args:
        rate: weight of the newest frame in the filter.
        side: pixels of the square in which it looks.
        spread: of the wanted peak, in these pixels.
        around: sides of the window over those of the box.
    """

    name = "mosse"
    region = "box"

    def __init__(self, rate: float = 0.125, side: int = 64, spread: float = 2.0, around: float = 2.0):
        self.rate, self.side, self.around = rate, side, around
        distance = np.arange(side) - side // 2
        peak = np.exp(-0.5 * (distance / spread) ** 2)
        self.wanted = np.fft.fft2(np.outer(peak, peak))
        self.window = np.outer(np.hanning(side), np.hanning(side))

    def init(self, image, box):
        """Starts with the first frame, uint8 RGB (H, W, 3), and a box x, y, w, h."""
        self.center, self.size = box[:2] + box[2:] / 2, box[2:]
        self.over = self.under = 0.0
        self.learn(image, 1.0)

    def update(self, image):
        """The next frame: the box there, and how far the peak stands out."""
        answer = np.fft.ifft2(self.over / self.under * self.spectrum(image)).real
        row, column = np.unravel_index(answer.argmax(), answer.shape)
        step = np.array([column, row]) - self.side // 2
        limits = np.array(image.shape[1::-1]) - 1
        self.center = np.clip(self.center + step * self.size * self.around / self.side, 0, limits)
        self.learn(image, self.rate)
        score = (answer.max() - answer.mean()) / (answer.std() + 1e-9)
        return np.concatenate([self.center - self.size / 2, self.size]), score

    def learn(self, image, rate):
        """Moves the filter towards what would have found the object here."""
        seen = self.spectrum(image)
        self.over = (1 - rate) * self.over + rate * self.wanted * np.conj(seen)
        self.under = (1 - rate) * self.under + rate * (seen * np.conj(seen) + 1e-3)

    def spectrum(self, image):
        """The window around the center, of one size and contrast, in frequencies."""
        steps = (np.arange(self.side) + 0.5) / self.side - 0.5
        x, y = (self.center[:, None] + steps * self.size[:, None] * self.around).round().astype(int)
        height, width = image.shape[:2]
        patch = image[np.clip(y, 0, height - 1)[:, None], np.clip(x, 0, width - 1)].mean(axis=2)
        patch = np.log1p(patch)
        return np.fft.fft2((patch - patch.mean()) / (patch.std() + 1e-9) * self.window)
