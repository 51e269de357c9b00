import dataclasses
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mosam.errors import DataError, MismatchError

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture(scope="module", autouse=True)
def programs():
    sys.path.insert(0, str(EXPERIMENTS))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    sys.path.remove(str(EXPERIMENTS))
    torch.set_num_threads(threads)


def smooth(rng, side, channels):
    """A picture with low frequencies only, as photographs mostly have."""
    coarse = torch.from_numpy(rng.random((1, channels, 8, 8)))
    fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    return (fine[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def made():
    """Three cut-outs and three photographs, one of each held back."""
    from photo.pack import CUTOUT_SIDE, PHOTO_SIDE, Picture

    rng = np.random.default_rng(0)
    found = []
    for number in range(3):
        pixels = np.dstack([smooth(rng, CUTOUT_SIDE, 3), np.zeros((CUTOUT_SIDE, CUTOUT_SIDE), np.uint8)])
        pixels[30:160, 20 + 10 * number : 150, 3] = 255
        found.append(Picture(f"cut{number}", number == 2, pixels))
    found += [Picture(f"photo{number}", number == 2, smooth(rng, PHOTO_SIDE, 3)) for number in range(3)]
    return found


@pytest.fixture(scope="module")
def pictures(made):
    from photo.painter import Pictures

    return Pictures.of(made)


@pytest.fixture
def stage():
    from train_settings import Stage

    return Stage(1, 3, 4, 2, (0.5, 0.0), (0.0, 0.0), stride=3, jumps=0.5)


def scenes_of(seed=0, hard=1.0, frames=3):
    from photo.scenes import draw_scenes

    times = np.arange(frames)[None].repeat(4, axis=0) * 2.0
    return draw_scenes(np.random.default_rng(seed), times, cutouts=[0, 1], photos=[0, 1], hard=hard)


def clean(scenes):
    """The same scenes without what cameras and codecs add."""
    zero = np.zeros_like
    return dataclasses.replace(
        scenes, light=np.ones_like(scenes.light), blur=zero(scenes.blur), noise=zero(scenes.noise),
        coarse=np.ones_like(scenes.coarse), steps=zero(scenes.steps), shadow=zero(scenes.shadow),
    )  # fmt: skip


def test_a_pack_gives_back_its_pictures(tmp_path, made):
    from photo.pack import read_pack, write_pack

    write_pack(tmp_path / "a.pack", made)
    found = read_pack(tmp_path / "a.pack")
    assert [(picture.name, picture.held, picture.cutout) for picture in found] == [
        (picture.name, picture.held, picture.cutout) for picture in made
    ]
    for ours, theirs in zip(made, found, strict=True):
        assert ours.pixels.shape == theirs.pixels.shape
        error = ours.pixels[..., :3].astype(int) - theirs.pixels[..., :3]
        assert np.abs(error).mean() < 3
        if ours.cutout:
            assert np.array_equal(ours.pixels[..., 3], theirs.pixels[..., 3])
    write_pack(tmp_path / "b.pack", made)
    assert [p.pixels.tobytes() for p in read_pack(tmp_path / "b.pack")] == [p.pixels.tobytes() for p in found]


def damaged(path, how):
    """Changes a pack in one way."""
    with np.load(path) as loaded:
        values = dict(loaded)
    if how == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "bits":
        data = bytearray(path.read_bytes())
        for place in range(200, len(data) - 200, 97):
            data[place] ^= 255
        path.write_bytes(bytes(data))
    elif how == "text":
        path.write_text("pictures")
    elif how == "bomb":  # 40 MB of zeros in 40 kB
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("codes.npy", bytes(40_000_000))
    else:
        changes = {
            "missing": lambda: values.pop("held"),
            "objects": lambda: values.update(names=np.array([{"a": 1}], dtype=object)),
            "short": lambda: values.update(codes=values["codes"][:-1]),
            "names": lambda: values.update(names=np.frombuffer(json.dumps([1, 2, 3, 4, 5, 6]).encode(), np.uint8)),
            "kind": lambda: values.update(codes=values["codes"].astype(np.float32)),
            "alpha": lambda: values.update(alpha=values["alpha"][:, :5]),
            "number": lambda: values.update(alpha=np.uint8(3)),
        }
        changes[how]()
        with path.open("wb") as file:
            np.savez(file, **values)


@pytest.mark.parametrize(
    "how", ["half", "bits", "text", "missing", "objects", "short", "names", "kind", "alpha", "number", "bomb"]
)
def test_a_damaged_pack_is_refused_in_one_line(tmp_path, made, how, monkeypatch):
    import photo.pack
    from photo.pack import read_pack, write_pack

    monkeypatch.setattr(photo.pack, "MOST_BYTES", 10_000_000)  # more than the pack of this test
    path = tmp_path / "a.pack"
    write_pack(path, made)
    damaged(path, how)
    with pytest.raises(DataError, match=r"a\.pack: expected") as caught:
        read_pack(path)
    assert "\n" not in str(caught.value)


def test_a_pack_that_is_not_there_is_named(tmp_path, capsys):
    import train_nano

    arguments = ["--out", str(tmp_path / "run"), "--settings", str(EXPERIMENTS / "train_micro.toml")]
    assert train_nano.main(arguments) == 2
    assert "expected --pack" in capsys.readouterr().err
    assert train_nano.main([*arguments, "--pack", str(tmp_path / "none.pack")]) == 2
    error = capsys.readouterr().err
    assert "none.pack" in error
    assert error.count("\n") == 1


def test_pictures_held_back_are_never_painted_in_training(pictures, stage, monkeypatch):
    import photo.batches

    seen = {}
    plain = photo.batches.draw_scenes

    def spy(rng, times, **how):
        scenes = plain(rng, times, **how)
        seen.setdefault(how["cutouts"][0], []).append(scenes)
        return scenes

    monkeypatch.setattr(photo.batches, "draw_scenes", spy)
    for held in (False, True):
        make = photo.batches.batch_maker(pictures, held=held)
        for seed in range(3):
            make((seed,), stage, 0.0, 64)
    used = [
        {("cutout", int(n)) for scenes in some for n in scenes.cutout.ravel()}
        | {("photo", int(n)) for scenes in some for n in (*scenes.photo, *scenes.cloth.ravel())}
        for some in seen.values()
    ]
    assert len(used) == 2
    assert not used[0] & used[1]
    assert used[1] == {("cutout", 2), ("photo", 2)}


def test_a_pack_without_pictures_to_hold_back_is_refused(made):
    from photo.painter import Pictures

    with pytest.raises(MismatchError, match="expected photographs for training"):
        Pictures.of([picture for picture in made if picture.cutout or not picture.held])


def test_clips_are_a_function_of_their_seed(pictures, stage):
    from photo.batches import batch_maker

    make = batch_maker(pictures, held=False)
    first, again, other = (make((seed,), stage, 0.5, 64) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert first.kinds == again.kinds
    assert not torch.equal(first.images, other.images)


def test_batches_have_the_shapes_that_training_takes(pictures, stage):
    from nano_training import FEWEST_PIXELS
    from photo.batches import batch_maker

    make = batch_maker(pictures, held=False)
    kinds = set()
    for seed in range(6):
        batch = make((seed,), stage, 1.0, 64)
        rows = len(batch.clips)
        assert batch.images.shape == (3, 4, 3, 64, 64)
        assert batch.labels.shape == (3, 4, 64, 64)
        assert batch.masks.shape == (3, rows, 1, 64, 64)
        assert batch.teach.shape == (3, rows)
        assert (np.diff(batch.clips) >= 0).all()
        assert (batch.masks[0].flatten(1).sum(dim=1) >= FEWEST_PIXELS).all()
        kinds |= set(batch.kinds)
        assert torch.equal((batch.images * 255).round() / 255, batch.images)
        for row, clip in enumerate(batch.clips):  # a mask is one body of its clip, all of it
            numbers = batch.labels[:, clip][batch.masks[:, row, 0] > 0].unique()
            assert len(numbers) == 1
            assert torch.equal(batch.labels[:, clip] == numbers, batch.masks[:, row, 0] > 0)
    assert kinds == {"mask", "box", "point"}


def test_masks_are_where_a_body_is_what_one_sees(pictures):
    """Taking a body away changes the picture on its mask, and not where another one is in front of it or it is not."""
    from photo.painter import paint

    hits, misses = [], []
    for seed in range(3):
        scenes = clean(scenes_of(seed))
        images, labels = paint(scenes, pictures, 64, 0)
        for layer in np.unique(labels.numpy())[1:] - 1:
            shown = scenes.shown.copy()
            shown[:, :, layer] = False
            without, others = paint(dataclasses.replace(scenes, shown=shown), pictures, 64, 0)
            mine = labels == layer + 1
            changed = (images - without).abs().amax(dim=2) > 2 / 255
            hits += [changed[mine].float().mean()]
            border = torch.nn.functional.max_pool2d(mine.float().flatten(0, 1), 5, 1, 2).view_as(labels) > 0
            misses += [changed[(labels > layer + 1) & ~border].float()]
            assert torch.equal(labels[~mine], others[~mine])
    assert min(hits) > 0.85  # elsewhere it has the colors of what is behind
    assert torch.cat(misses).mean() < 0.05
    assert len(torch.cat(misses)) > 1000


def test_a_body_that_is_not_shown_has_no_mask(pictures):
    from photo.painter import paint

    scenes = clean(scenes_of(1))
    scenes.shown[:, 1:] = False
    images, labels = paint(scenes, pictures, 64, 0)
    assert labels[0].any()
    assert not labels[1:].any()
    assert (images[1:] > 0).any()


def test_bodies_move_smoothly_and_the_first_frame_is_the_scenes_own(pictures):
    scenes = scenes_of(5, frames=8)
    step = np.abs(np.diff(scenes.place[..., :2, 2], axis=1)).max(axis=(0, 1))
    assert np.isfinite(scenes.place).all()
    assert np.median(step) < 1.5  # half sides of the body
    assert scenes.shown[:, 0].any(axis=1).all()  # nothing vanishes on the first frame


def test_easy_scenes_have_fewer_bodies_than_hard_ones():
    easy, hard = (scenes_of(2, hard=hard).shown[:, 0].sum() for hard in (0.0, 1.0))
    assert easy < hard


def test_what_a_codec_loses_is_little_and_a_step_of_nothing_loses_nothing(pictures):
    from photo.painter import paint

    scenes = clean(scenes_of(3))
    plain, _ = paint(scenes, pictures, 64, 0)
    coded, _ = paint(dataclasses.replace(scenes, steps=np.full_like(scenes.steps, 16.0)), pictures, 64, 0)
    finest, _ = paint(dataclasses.replace(scenes, steps=np.full_like(scenes.steps, 1e-3)), pictures, 64, 0)
    assert 0.5 / 255 < (plain - coded).abs().mean() < 0.1
    assert (plain - finest).abs().max() <= 1.01 / 255


def tiny(**changes):
    """Settings of a run of three short steps on small frames."""
    from train_settings import Stage, load_settings

    settings = load_settings(EXPERIMENTS / "train_micro.toml", seed=3, device="cpu", minutes=0.0)
    stages = tuple(
        Stage(steps, 2, 1, 2, (0.5, 0.0), (1e-3, 1e-3), image=image, prompts=0.5, helpers=0.5)
        for steps, image in ((2, 32), (1, 64))
    )
    network = dataclasses.replace(settings.network, image=64)
    return dataclasses.replace(
        settings, stages=stages, network=network, validate_every=0, bf16=False, average=0.5, **changes
    )


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_run_on_photographs_continues_as_if_it_had_not_stopped(tmp_path, made):
    from photo.pack import write_pack
    from train_nano import train

    from mosam.model.checkpoints import load_model

    write_pack(tmp_path / "a.pack", made)
    train(tiny(), tmp_path / "whole", pack=tmp_path / "a.pack")
    train(tiny(), tmp_path / "parts", until=1, pack=tmp_path / "a.pack")
    train(tiny(), tmp_path / "parts", pack=tmp_path / "a.pack")
    assert len(losses(tmp_path / "whole")) == 3
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    files = [(tmp_path / name / "micro.safetensors").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]
    backbone = load_model(str(tmp_path / "whole" / "micro.safetensors"), device="cpu")
    assert backbone.sizes.image == 64


def test_a_run_of_some_minutes_ends_by_the_clock_and_passes_every_stage():
    from train_settings import load_settings

    settings = load_settings(EXPERIMENTS / "train_micro.toml", seed=None, device="cpu", minutes=10.0)
    places = [settings.stages.index(settings.at(7, seconds)[0]) for seconds in range(0, 600, 20)]
    assert sorted(set(places)) == list(range(len(settings.stages)))
    assert places == sorted(places)
    with pytest.raises(IndexError):
        settings.at(0, 600.0)
    assert settings.rate(1000, 599.9) < 2e-5


def test_a_deeper_network_begins_as_the_one_it_starts_from():
    from nano_training import begin_with, new_backbone

    from mosam.model.checkpoints import load_model

    nano = load_model("nano", device="cpu")
    network = dataclasses.replace(tiny().network, image=128)
    deeper = new_backbone(0, name="micro", network=network)
    begin_with(deeper, nano.model.state_dict())
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for ours, theirs in zip(deeper.encode(pixels).high, nano.encode(pixels).high, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(deeper.encode(pixels).top, nano.encode(pixels).top, atol=1e-4, rtol=1e-4)


def test_weights_of_other_widths_are_refused():
    from nano_training import begin_with, new_backbone

    from mosam.model.checkpoints import load_model

    network = dataclasses.replace(tiny().network, channels=(32, 64, 128, 256), image=64)
    with pytest.raises(MismatchError, match="expected weights of a network of the same widths"):
        begin_with(new_backbone(0, network=network), load_model("nano", device="cpu").model.state_dict())


def test_another_size_of_frame_uses_the_very_same_parameters():
    from nano_training import new_backbone, resized

    network = tiny().network
    backbone = new_backbone(0, network=network)
    larger = resized(backbone, network, 128)
    assert larger.sizes.image == 128
    own = {name: parameter.data_ptr() for name, parameter in backbone.model.named_parameters()}
    assert own == {name: parameter.data_ptr() for name, parameter in larger.model.named_parameters()}
    larger.encode(torch.zeros(1, 3, 128, 128)).top.sum().backward()
    assert backbone.model.vision_encoder.neck.convs[0].weight.grad is not None
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(value, larger.model.state_dict()[name])


def test_ranks_of_equal_values_are_their_mean():
    from scipy.stats import spearmanr
    from train_report import _rank_correlation

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 40).astype(float), rng.random(40)
    assert _rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-4)


def test_drawings_and_cut_outs_of_nothing_are_left_out():
    from photo.packages import _cutout, _photo

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)
    alpha = np.zeros((200, 300, 1), np.uint8)
    alpha[20:180, 40:260] = 255
    assert _cutout("a/mammals/equines/horse.png", np.dstack([noise, alpha])).held
    found = _cutout("a/birds/crow.png", np.dstack([noise, alpha]))
    assert not found.held
    assert found.pixels.shape == (192, 192, 4)
    assert (found.pixels[..., 3] > 127).mean() == pytest.approx(160 / 220, abs=0.02)
    flat = np.full_like(noise, 90)
    assert _cutout("a", np.dstack([flat, alpha])) is None
    assert _cutout("a", np.dstack([noise, alpha * 0])) is None
    assert _cutout("a", np.dstack([noise, alpha // 2 + 30])) is None
    assert _photo("a", flat) is None
    assert _photo("a", noise).pixels.shape == (448, 448, 3)
