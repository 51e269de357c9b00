"""Frames and prompts on their way to the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mosam.model.preprocess import MEAN, RESIZES, STD, load_mask, load_pixels, prompt_points
from mosam.types import Prompt

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def image():
    return np.random.RandomState(0).randint(0, 256, (90, 130, 3)).astype(np.uint8)


def test_bicubic_is_the_official_loader_bit_for_bit(image):
    # sam2/utils/misc.py: PIL resize with its default filter, float64 division, then fp32 mean and deviation.
    resized = np.array(Image.fromarray(image).resize((64, 64)))
    expected = torch.from_numpy(resized / 255.0).permute(2, 0, 1).float()
    expected = (expected - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.equal(load_pixels([image], 64, resize="pil_bicubic", device=CPU)[0], expected)


def test_all_gray_levels_divide_as_in_double_precision():
    levels = np.arange(256, dtype=np.uint8)
    image = np.stack([np.tile(levels, (256, 1))] * 3, axis=2)
    pixels = load_pixels([image], 256, resize="pil_bicubic", device=CPU)
    expected = (torch.from_numpy(levels / 255.0).float() - MEAN[0]) / STD[0]
    assert torch.allclose(pixels[0, 0, 0], expected, rtol=0, atol=0)


def test_the_port_filter_is_the_port_processor_bit_for_bit(image):
    from torchvision.transforms.v2 import functional as tv

    resized = tv.resize(torch.from_numpy(image).permute(2, 0, 1), [64, 64], antialias=True)
    expected = (resized.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    found = load_pixels([image], 64, resize="tv_bilinear_aa", device=CPU)[0]
    assert (found - expected).abs().max() < 1e-6


@pytest.mark.parametrize("resize", RESIZES)
def test_images_of_many_sizes_in_one_batch(image, resize):
    both = load_pixels([image, image[:50, :40]], 64, resize=resize, device=CPU)
    assert both.shape == (2, 3, 64, 64)
    assert torch.equal(both[:1], load_pixels([image], 64, resize=resize, device=CPU))


def test_the_filters_differ(image):
    found = [load_pixels([image], 64, resize=resize, device=CPU) for resize in RESIZES]
    assert all((found[i] - found[j]).abs().max() > 0.1 for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_only_uint8_rgb_is_taken(wrong):
    with pytest.raises(ValueError, match="uint8 RGB"):
        load_pixels([wrong], 8, resize="pil_bicubic", device=CPU)


def test_a_mask_of_the_right_size_is_not_touched():
    mask = np.random.RandomState(1).rand(32, 32) > 0.5
    assert np.array_equal(load_mask(mask, 32)[0].numpy(), mask.astype(np.float32))


def test_a_resized_mask_is_binary_and_keeps_its_share():
    mask = np.zeros((90, 130), bool)
    mask[20:60, 30:100] = True
    found = load_mask(mask, 64)
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert found.mean().item() == pytest.approx(mask.mean(), abs=0.02)


def test_box_corners_come_before_clicks():
    prompt = Prompt(1, box=np.array([10.0, 20, 30, 40]), points=np.array([[5.0, 6]]), labels=np.array([0]))
    points, labels = prompt_points(prompt, (100, 200), 50)
    np.testing.assert_allclose(points, [[2.5, 10.0], [10.0, 30.0], [1.25, 3.0]], rtol=1e-6)
    assert labels.tolist() == [2, 3, 0]
    assert (points.dtype, labels.dtype) == (torch.float32, torch.int32)


def test_a_mask_has_no_points():
    with pytest.raises(ValueError, match="got a mask"):
        prompt_points(Prompt(1, mask=np.ones((4, 4), bool)), (4, 4), 8)


SHAPES = [(90, 130), (64, 64), (40, 51), (301, 64), (64, 200), (720, 1280)]


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_resize_on_the_device_is_within_a_gray_level_of_that_on_the_host(resize, shape):
    """The device's arithmetic on tensors of the processor; noise of full contrast is the hardest picture there is."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 2, (*shape, 3)) * 255
    smooth = np.clip(np.add.outer(np.arange(shape[0]) * 0.7, np.arange(shape[1]) * 0.4), 0, 255)[..., None].repeat(3, 2)
    for picture in (noise.astype(np.uint8), smooth.astype(np.uint8)):
        host = load_pixels([picture], 64, resize=resize, device=CPU)
        device = load_pixels([picture], 64, resize=resize, device=CPU, on_device=True)
        assert device.shape == host.shape
        assert device.dtype == torch.float32
        scale = 255 * torch.tensor(STD).view(3, 1, 1) if resize != "tv_bilinear" else torch.tensor(255.0)
        levels = ((device - host) * scale).abs()
        assert levels.max() <= 1 + 1e-3
        assert levels.mean() < 0.1


def test_frames_of_different_sizes_are_resized_on_the_device(image):
    pixels = load_pixels([image, image[:50]], 64, resize="pil_bicubic", device=CPU, on_device=True)
    assert pixels.shape == (2, 3, 64, 64)
    with pytest.raises(ValueError, match="expected a uint8 RGB image"):
        load_pixels([image.astype(np.float32)], 64, resize="pil_bicubic", device=CPU, on_device=True)
