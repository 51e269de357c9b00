import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mosam.engine.engine import Engine
from mosam.errors import MismatchError
from mosam.policies.base import load_policy
from mosam.types import Prompt

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture(scope="module", autouse=True)
def programs():
    sys.path.insert(0, str(EXPERIMENTS))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    sys.path.remove(str(EXPERIMENTS))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def training():
    import nano_training

    return nano_training


@pytest.fixture(scope="module")
def generated():
    import generated_batches

    return generated_batches


@pytest.fixture(scope="module")
def settings_of():
    import train_settings

    return train_settings


@pytest.fixture(scope="module")
def program():
    import train_nano

    return train_nano


@pytest.fixture
def small(program, settings_of):
    """Settings of a run of three short steps, without validation."""
    stage = settings_of.Stage(
        steps=3, frames=2, clips=1, targets=2, teach=(0.5, 0.0), rate=(1e-3, 1e-3), jumps=0.5, prompts=0.5
    )
    settings = program.load_settings(program.SETTINGS_FILE, seed=7, device="cpu")
    return dataclasses.replace(settings, stages=(stage,), validate_every=0)


def losses(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(tmp_path, program, small):
    program.train(small, tmp_path / "a")
    program.train(small, tmp_path / "b")
    program.train(dataclasses.replace(small, seed=8), tmp_path / "c", until=1)
    assert len(losses(tmp_path / "a")) == 3
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "c")[0] != losses(tmp_path / "a")[0]


def test_a_stopped_run_continues_as_if_it_had_not_stopped(tmp_path, program, small):
    program.train(small, tmp_path / "whole")
    program.train(small, tmp_path / "parts", until=2)
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:  # steps done after the last checkpoint are done again
        log.write(json.dumps({"step": 3, "loss": 99.0}) + "\n")
    program.train(small, tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert (tmp_path / "parts" / "validation.png").stat().st_size > 1000
    assert json.loads((tmp_path / "parts" / "nano.json").read_text())["notes"]["steps"] == 3


def test_a_run_leaves_weights_that_load_as_a_model(tmp_path, program, small):
    from mosam.model.checkpoints import load_model

    program.train(small, tmp_path / "run", until=1)
    weights = tmp_path / "run" / "nano.safetensors"
    assert weights.stat().st_size < 8e6
    backbone = load_model(str(weights), device="cpu")
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    for name, value in backbone.model.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state["average"][name].half().float(), rtol=0, atol=0)


def test_two_processes_give_the_losses_of_one(tmp_path, program, small):
    import subprocess

    text = program.SETTINGS_FILE.read_text()
    head = re.sub("validate_every = [0-9]+", "validate_every = 0", text[: text.index("[[stage]]")])
    stage = "[[stage]]\nsteps = 2\nframes = 2\nclips = 1\ntargets = 2\nteach = [0.5, 0.0]\nrate = [1e-3, 1e-3]\n"
    (tmp_path / "settings.toml").write_text(head + stage)
    for processes in (1, 2):
        command = [sys.executable, EXPERIMENTS / "train_nano.py", "--out", tmp_path / f"run{processes}"]
        command += ["--settings", tmp_path / "settings.toml", "--processes", str(processes)]
        subprocess.run(command, check=True)
    # sums in another order: measured 1e-6, the last digit that the log keeps
    assert np.allclose(losses(tmp_path / "run1"), losses(tmp_path / "run2"), rtol=0, atol=5e-6)


def test_another_runs_folder_is_refused_in_one_line(tmp_path, program, small, capsys):
    program.open_run(tmp_path / "run", small)
    with pytest.raises(MismatchError, match=r"run: expected a run with these settings.*other seed; use another --out"):
        program.open_run(tmp_path / "run", dataclasses.replace(small, seed=9))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    assert program.main(["--out", str(tmp_path / "photos")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("train_nano: ")
    assert message.count("\n") == 1
    assert list((tmp_path / "photos").iterdir()) == [tmp_path / "photos" / "cat.jpg"]


def test_settings_that_are_not_known_are_refused(tmp_path, program):
    (tmp_path / "s.toml").write_text(program.SETTINGS_FILE.read_text().replace("decay =", "decoy ="))
    with pytest.raises(MismatchError, match="decoy"):
        program.load_settings(tmp_path / "s.toml", seed=None, device="cpu")


def test_parts_must_be_shared_evenly(tmp_path, program, small):
    with pytest.raises(MismatchError, match="expected a divisor of 2"):
        program.train(small, tmp_path / "run", processes=3)


def test_rates_follow_the_stages(program):
    settings = program.load_settings(program.SETTINGS_FILE, seed=None, device="cpu")
    first, last = settings.stages[0], settings.stages[-1]
    assert settings.rate(0) == pytest.approx(first.rate[0] / settings.warmup)
    assert settings.rate(first.steps) == pytest.approx(settings.stages[1].rate[0])
    assert settings.rate(settings.steps - 1) == pytest.approx(last.rate[1], rel=0.05)
    with pytest.raises(IndexError):
        settings.at(settings.steps)


def one_object_batch(generated, frames, kind, seed=0):
    from train_settings import Stage

    stage = Stage(1, frames, 1, 1, (0.0, 0.0), (0.0, 0.0))
    batch = generated.make_batch((5, seed), stage, 0.0, 128)
    return dataclasses.replace(batch, kinds=(kind,), gap=0, correct=0)


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_training_tracks_exactly_as_the_engine_does(training, kind, generated):
    """Past frame 16 memory slots, pointers and their positions are all in use."""
    backbone = training.new_backbone(3)
    batch = one_object_batch(generated, 18, kind)
    mask = batch.masks[0, 0, 0].numpy() > 0
    if kind == "mask":
        prompt = Prompt(1, mask=mask)
    else:
        corners = training._box_tokens(batch.masks[0], np.random.default_rng(batch.seed)).points[0].double().numpy()
        prompt = Prompt(1, box=np.concatenate([corners[0], corners[1] - corners[0]]))
    engine = Engine(backbone, load_policy("sam2"))
    video = engine.open([prompt], size=(128, 128), num_frames=18)
    with torch.no_grad():
        for t, result in enumerate(training.track(backbone, batch)):
            output = engine.step({video: batch.images[t, 0]})[video].objects[1]
            if t == 0 and kind == "mask":
                continue  # the engine shows the prompt itself
            index = torch.arange(1)
            assert output.object_score == pytest.approx(float(result.decoded.object_score.reshape(-1)[0]), abs=2e-3)
            assert output.iou == pytest.approx(float(result.decoded.iou[index, result.chosen][0]), abs=2e-3)
            logits = torch.nn.functional.interpolate(result.logits, size=(128, 128), mode="bilinear")[0, 0]
            assert np.mean((logits.numpy() > 0) != output.mask) < 2e-3


def test_extra_prompts_do_not_change_the_tracks(training, generated, settings_of):
    backbone = training.new_backbone(0)
    stage = settings_of.Stage(1, 2, 2, 3, (0.0, 0.0), (0.0, 0.0))
    batch = dataclasses.replace(generated.make_batch((5, 1), stage, 0.0, 128), kinds=("mask",) * 6, correct=0)
    with torch.no_grad():
        plain, extra = (list(training.track(backbone, batch, extra=asked)) for asked in (False, True))
    assert plain[0].extra is None
    assert extra[0].extra.masks.shape == plain[0].decoded.masks.shape
    torch.testing.assert_close(extra[1].decoded.masks, plain[1].decoded.masks)
    torch.testing.assert_close(extra[0].decoded.masks, plain[0].decoded.masks)


def test_boxes_and_points_alone_keep_their_own_balance(training, program, generated, settings_of):
    backbone = training.new_backbone(0)
    stage = settings_of.Stage(1, 2, 1, 2, (0.0, 0.0), (0.0, 0.0))
    batch = dataclasses.replace(generated.make_batch((5, 1), stage, 0.0, 128), kinds=("mask",) * 2, correct=0)

    def parts(**weights):
        with torch.no_grad():
            _, found = program.clip_loss(backbone, batch, settings_of.LossWeights(prompts=1.0, **weights))
        return float(found["prompts"]), float(found["mask"])

    plain, kept, balanced = parts(), parts(prompt_balance=1.0), parts(balance=1.0)
    assert kept[0] == balanced[0] != plain[0]
    assert kept[1] == plain[1] != balanced[1]


def test_cut_gradients_change_no_answer(training, program, generated, settings_of):
    backbone = training.new_backbone(0)
    stage = settings_of.Stage(1, 4, 1, 1, (0.0, 0.0), (0.0, 0.0), cut=2)
    batch = dataclasses.replace(generated.make_batch((5, 1), stage, 0.0, 128), kinds=("mask",), correct=0)
    assert batch.cut == 2
    found = []
    for cut in (0, 2, 100):
        backbone.model.zero_grad()
        loss, _ = program.clip_loss(backbone, dataclasses.replace(batch, cut=cut), settings_of.LossWeights())
        loss.backward()
        gradient = backbone.model.memory_encoder.projection.weight.grad
        found.append((loss.item(), gradient.clone()))
    assert found[0][0] == found[1][0] == found[2][0]
    assert not torch.allclose(found[0][1], found[1][1])
    assert torch.allclose(found[0][1], found[2][1])


def test_a_step_with_too_long_a_gradient_changes_nothing(tmp_path, program, small):
    weights = {}
    for skip in (0.0, 1e-6):
        settings = dataclasses.replace(small, stages=(dataclasses.replace(small.stages[0], skip=skip),))
        trainer = program.Trainer(settings, tmp_path)
        before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        trainer.train_step()
        weights[skip] = all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert weights == {0.0: False, 1e-6: True}


def test_every_weight_has_one_optimizer_and_layers_have_muon(training, program, small):
    model = training.new_backbone(0).model
    muon, adam = program.make_optimizers(model, small)
    kinds = [[id(p) for group in optimizer.param_groups for p in group["params"]] for optimizer in (muon, adam)]
    assert sorted(kinds[0] + kinds[1]) == sorted(id(parameter) for parameter in model.parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    layers = {names[key] for key in kinds[0]}
    assert "memory_attention.layers.0.linear1.weight" in layers
    assert not any("embed" in name.rsplit(".", 2)[-2] or name.endswith("bias") for name in layers)
    heads = [name for name in layers if min(model.get_parameter(name).shape) < program.SMALLEST_HIDDEN]
    assert heads == []


def test_a_torch_without_muon_is_named_in_one_line(tmp_path, program, monkeypatch, capsys):
    monkeypatch.delattr(torch.optim, "Muon")
    assert program.main(["--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "torch 2.9" in error
    assert not (tmp_path / "run").exists()


def test_gradients_reach_the_memory_from_the_frames_after_it(training, generated):
    backbone = training.new_backbone(0)
    batch = one_object_batch(generated, 3, "mask")
    results = list(training.track(backbone, batch))
    results[2].decoded.masks.sum().backward()
    gradient = backbone.model.memory_encoder.projection.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_without_memory_a_frame_does_not_know_the_prompt(training, generated):
    backbone = training.new_backbone(0)
    batch = one_object_batch(generated, 2, "mask")
    empty = dataclasses.replace(batch, masks=torch.zeros_like(batch.masks))
    with torch.no_grad():
        pairs = [[list(training.track(backbone, b, memory=m))[1].decoded.masks for b in (batch, empty)] for m in (0, 1)]
    assert torch.equal(*pairs[0])
    assert not torch.allclose(*pairs[1])


def answer(logits, iou, score):
    """An answer for one object with four equal masks."""
    from mosam.model.backbone import Decoded

    masks = logits.expand(1, 4, *logits.shape[-2:])
    return Decoded(masks, torch.full((1, 4), iou), torch.zeros(1, 4, 8), torch.tensor([score]))


def square(side=128):
    mask = torch.zeros(1, 1, side, side)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return mask


def test_the_loss_of_a_right_answer_is_near_zero_and_of_a_wrong_one_is_not(training, settings_of):
    truth = square()
    low = torch.nn.functional.avg_pool2d(truth, 4)[0] * 20 - 10
    weights = settings_of.LossWeights()
    good, parts = training.frame_loss(answer(low, 1.0, 8.0), truth, weights)
    bad, _ = training.frame_loss(answer(-low, 1.0, 8.0), truth, weights)
    assert float(good) < 0.25  # corners are blurred by up-sampling
    assert float(parts["iou"]) < 0.1
    assert float(bad) > 5


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_an_absent_object_trains_presence_only(training, balance, settings_of):
    low = torch.full((1, 32, 32), 3.0)
    weights = settings_of.LossWeights(balance=balance)
    nothing = torch.zeros(1, 1, 128, 128)
    right, parts = training.frame_loss(answer(low, 0.3, -6.0), nothing, weights)
    wrong, _ = training.frame_loss(answer(low, 0.3, 6.0), nothing, weights)
    assert float(right) < 0.01 < 5 < float(wrong)
    assert float(parts["mask"]) == 0


def test_a_sliver_trains_nothing(training, settings_of):
    sliver = torch.zeros(1, 1, 128, 128)
    sliver[..., 0, :3] = 1
    loss, _ = training.frame_loss(answer(torch.zeros(1, 32, 32), 0.5, 4.0), sliver, settings_of.LossWeights())
    assert float(loss) == 0


def test_a_stage_can_draw_the_scenarios_of_the_benchmark(monkeypatch, generated, settings_of):
    asked = []

    def spy(rng, frames, *, recipe_of, **how):
        asked.append(recipe_of.__name__)
        return plain(rng, frames, recipe_of=recipe_of, **how)

    plain = generated.training_clip
    monkeypatch.setattr(generated, "training_clip", spy)
    stage = settings_of.Stage(1, 2, 2, 1, (0.0, 0.0), (0.0, 0.0))
    for share, expected in ((0.0, {"random_recipe"}), (1.0, {"scenario_recipe"})):
        asked.clear()
        generated.make_batch((6, 0), dataclasses.replace(stage, scenarios=share), 0.0, 128)
        assert set(asked) == expected


def test_batches_mix_prompts_and_always_ask_for_what_the_scene_is_about(training, generated, settings_of):
    stage = settings_of.Stage(1, 2, 4, 3, (0.5, 0.0), (0.0, 0.0), jumps=0.5)
    batches = [generated.make_batch((6, seed), stage, 0.0, 128) for seed in range(8)]
    assert {kind for batch in batches for kind in batch.kinds} == {"mask", "box", "point"}
    for batch in batches:
        assert batch.images.shape == (2, 4, 128, 128, 3)
        assert batch.masks.shape == (2, 12, 1, 128, 128)
        assert (batch.masks[0].flatten(1).sum(dim=1) >= training.FEWEST_PIXELS).all()
        assert len({kind for kind in batch.kinds if kind != "mask"}) <= 1  # rows of one decode have equal points
    assert any(batch.gap for batch in batches)


def test_a_stage_can_be_left_early(program, small):
    cut = dataclasses.replace(small.stages[0], steps=10, stop=2)
    settings = dataclasses.replace(small, stages=(cut, small.stages[0]))
    assert settings.steps == 2 + 3
    assert settings.at(1) == (cut, 0.1)  # rates and shares change as if it were run whole
    assert settings.at(2) == (small.stages[0], 0.0)


def test_the_mean_over_the_masks_counts_as_much_as_asked(training, settings_of):
    truth = square()
    good = torch.nn.functional.avg_pool2d(truth, 4)[0] * 20 - 10
    one_right = answer(torch.stack([good[0], good[0], -good[0], -good[0]])[None], 1.0, 8.0)
    best, mixed, mean = (
        float(training.frame_loss(one_right, truth, settings_of.LossWeights(every=share))[1]["mask"])
        for share in (0.0, 0.5, 1.0)
    )
    assert best < 0.1 < mean
    assert mixed == pytest.approx((best + mean) / 2)


def test_an_absent_object_can_weigh_more_in_presence(training, settings_of):
    from mosam.model.backbone import Decoded

    low = torch.full((2, 4, 32, 32), 3.0)
    said_present = Decoded(low, torch.full((2, 4), 0.5), torch.zeros(2, 4, 8), torch.tensor([6.0, 6.0]))
    masks = torch.cat([square(), torch.zeros(1, 1, 128, 128)])
    alike, weighted = (
        float(training.frame_loss(said_present, masks, settings_of.LossWeights(absent=weight))[1]["presence"])
        for weight in (1, 3)
    )
    assert weighted == pytest.approx(1.5 * alike, rel=1e-2)


def test_helpers_reward_features_that_tell_mask_and_bodies(training):
    helpers = training.Helpers(64)
    labels = torch.zeros(2, 1, 128, 128, dtype=torch.uint8)
    labels[0, 0, :32, :32], labels[0, 0, :32, 64:96] = 1, 2  # two bodies that change places
    labels[1, 0, :32, :32], labels[1, 0, :32, 64:96] = 2, 1
    blocks = labels.float().unflatten(3, (8, 16)).unflatten(2, (8, 16)).amax(dim=(3, 5))[:, 0].long()
    telling = torch.nn.functional.one_hot(blocks, 64).permute(0, 3, 1, 2).float() * 10
    by_place = torch.zeros_like(telling)
    by_place[:, 1, :2, :2], by_place[:, 2, :2, 4:6] = 10, 10
    with torch.no_grad():
        helpers.looks.weight.copy_(torch.eye(64)[:, :, None, None])
        helpers.looks.bias.zero_()
        assert float(helpers.looks_loss(telling, labels)) < 0.01 < 1 < float(helpers.looks_loss(by_place, labels))
    mask = (labels[0] == 1).float()[None]
    helpers.mask.weight.data.zero_()
    helpers.mask.bias.data.fill_(0.0)
    helpers.mask.weight.data[:, 1] = 5.0
    helpers.mask.bias.data.fill_(-20.0)
    assert float(helpers.mask_loss(telling[:1], mask)) < 1e-3 < 5 < float(helpers.mask_loss(telling[1:], mask))


def test_helpers_are_trained_along_kept_and_not_shipped(tmp_path, program, small):
    stage = dataclasses.replace(small.stages[0], helpers=0.5)
    helped = dataclasses.replace(small, stages=(stage,))
    program.train(helped, tmp_path / "a")
    program.train(helped, tmp_path / "b", until=2)
    program.train(helped, tmp_path / "b")
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    state = torch.load(tmp_path / "a" / "last.pt", weights_only=True)
    assert set(state["helpers"]) == {"mask.weight", "mask.bias", "looks.weight", "looks.bias"}
    assert not any("looks" in name for name in state["average"])
