import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mosam.datasets import decoders
from mosam.errors import DataError, MosamError, UnknownNameError


@pytest.fixture(autouse=True)
def _back_to_auto():
    yield
    decoders.use_decoder("auto")


def jpeg(height=13, width=21, *, seed=0, mode="RGB", **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def installed():
    return [name for name in decoders.FAST if decoders.is_exact(name) is not None]


def test_auto_is_exact_and_at_hand():
    name = decoders.use_decoder("auto")
    assert name in decoders.DECODERS
    assert decoders.is_exact(name)
    assert decoders.decoder_in_use() == name


@pytest.mark.parametrize("name", decoders.FAST)
def test_a_decoder_that_is_not_installed_is_refused(name, monkeypatch):
    monkeypatch.setattr(decoders, "_load", lambda name: None)
    assert decoders.is_exact(name) is None
    with pytest.raises(MosamError, match=f"--decoder {name}: expected it to be installed; pip install {name}"):
        decoders.use_decoder(name)
    with pytest.raises(UnknownNameError, match="unknown decoder 'pilow'; did you mean pillow"):
        decoders.use_decoder("pilow")


def test_auto_passes_over_what_is_not_exact(monkeypatch):
    def load(name):
        def decode(data):
            image = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
            return image ^ (1 if name == "simplejpeg" else 0)

        return decode

    monkeypatch.setattr(decoders, "_load", load)
    decoders._fastest_exact.cache_clear()
    try:
        assert decoders.is_exact("simplejpeg") is False
        assert decoders.is_exact("jpeg4py") is True
        assert decoders.decoder_in_use() == "jpeg4py"
    finally:
        decoders._fastest_exact.cache_clear()


def test_a_decoder_that_takes_half_a_file_is_not_exact(monkeypatch):
    def decode(data):
        picture = Image.open(io.BytesIO(data))
        try:
            return np.array(picture.convert("RGB"))
        except OSError:
            return np.zeros((picture.height, picture.width, 3), np.uint8)

    monkeypatch.setattr(decoders, "_load", lambda name: decode)
    assert decoders.is_exact("simplejpeg") is False


@pytest.mark.parametrize("name", decoders.FAST)
def test_installed_decoders_give_the_pixels_of_pillow(name):
    exact = decoders.is_exact(name)
    if not exact:
        pytest.skip(f"{name}: not installed here, or not exact")

    @settings(max_examples=25, deadline=None)
    @given(
        height=st.integers(1, 40),
        width=st.integers(1, 40),
        seed=st.integers(0, 99),
        quality=st.integers(5, 100),
        subsampling=st.sampled_from([0, 1, 2]),
        progressive=st.booleans(),
        mode=st.sampled_from(["RGB", "L", "CMYK"]),
    )
    def agree(height, width, seed, quality, subsampling, progressive, mode):
        options = {} if mode != "RGB" else {"subsampling": subsampling}
        data = jpeg(height, width, seed=seed, mode=mode, quality=quality, progressive=progressive, **options)
        decoders.use_decoder("pillow")
        expected = decoders.decode_image(data, "x")
        decoders.use_decoder(name)
        np.testing.assert_array_equal(decoders.decode_image(data, "x"), expected)

    agree()


@pytest.mark.parametrize("name", ["pillow", "auto", *decoders.FAST])
def test_damage_reads_the_same_whatever_decodes(name):
    if name in decoders.FAST and name not in installed():
        pytest.skip(f"{name}: not installed here")
    decoders.use_decoder(name)
    data = jpeg(60, 60, quality=95)
    for cut in (1, 40, len(data) // 2):
        with pytest.raises(DataError, match=r"^0\.jpg: expected a whole picture, got .*truncated"):
            decoders.decode_image(data[:-cut], "0.jpg")
    with pytest.raises(DataError, match=r"0\.jpg: expected a JPEG or PNG picture"):
        decoders.decode_image(b"text", "0.jpg")


@pytest.mark.parametrize("name", ["pillow", "auto"])
def test_an_enormous_declared_size_is_refused(name):
    decoders.use_decoder(name)
    data = bytearray(jpeg())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"  # 65500 x 65500 pixels
    with pytest.raises(DataError, match="exceeds limit"):
        decoders.decode_image(bytes(data), "0.jpg")
