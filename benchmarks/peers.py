"""SAM 2.1 in several programs: same device, same pictures, same weights; from JPEG files to result files.

    python benchmarks/peers.py [--model random:large] [--device cuda] [--objects 1,3,10] [--lanes 1,16] [--frames 100]

Each program runs in a process of its own, over clips that are made: prompts are masks on the first frame, results are
label maps as DAVIS has them. Peers are installed by you, outside this project; those that cannot be imported are left
out, and said so:

    official        facebookresearch/sam2, `build_sam2_video_predictor`, frames loaded as its tools load them
    official-vos    the same with `vos_optimized=True` (compiled; the first clip is not timed, for any program)
    transformers    `Sam2VideoModel` with its processor and session
    samurai         yangchris11/samurai's fork of `sam2`, one object
    ours            this project; with one lane and with more

The official program and SAMURAI's are both called `sam2`: run this once in each environment. Weights are those of
`--model` for all; speed does not depend on their values.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

CONFIGS = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "small": "configs/sam2.1/sam2.1_hiera_s.yaml",
    "base-plus": "configs/sam2.1/sam2.1_hiera_b+.yaml",
    "large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}
SAMURAI_CONFIGS = {size: path.replace("sam2.1/", "samurai/") for size, path in CONFIGS.items()}
PEERS = ("official", "official-vos", "transformers", "samurai", "ours")
SIZE = (480, 854)


def is_samurai() -> bool:
    """Whether the `sam2` that is found is SAMURAI's."""
    found = importlib.util.find_spec("sam2")
    if found is None or not found.submodule_search_locations:
        return False
    return any((Path(place) / "utils" / "kalman_filter.py").is_file() for place in found.submodule_search_locations)


def why_not(peer: str, objects: int) -> str | None:
    """Why a program is left out; None where it can run."""
    there = importlib.util.find_spec("sam2") is not None
    if peer.startswith("official"):
        return None if there and not is_samurai() else "facebookresearch/sam2 cannot be imported here"
    if peer == "samurai":
        if objects > 1:
            return "it follows one object"
        return None if is_samurai() else "SAMURAI's fork of sam2 cannot be imported here"
    return None


class Timing:
    """Seconds and peak memory of the clips after the first."""

    def __init__(self, device: str):
        import torch

        self._torch, self._cuda = torch, device.startswith("cuda")
        self.seconds, self.processor, self.frames = 0.0, 0.0, 0

    def clip(self, work: Callable[[], int], *, counts: bool) -> None:
        self._wait()
        if counts and self.frames == 0 and self._cuda:
            self._torch.cuda.reset_peak_memory_stats()
        started, processor = time.perf_counter(), time.process_time()
        frames = work()
        self._wait()
        if counts:
            self.seconds += time.perf_counter() - started
            self.processor += time.process_time() - processor
            self.frames += frames

    def _wait(self) -> None:
        if self._cuda:
            self._torch.cuda.synchronize()

    def result(self) -> dict[str, float]:
        import resource

        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        peak = self._torch.cuda.max_memory_allocated() / 2**30 if self._cuda else float("nan")
        cores = self.processor / self.seconds
        return {"fps": self.frames / self.seconds, "host_cores": cores, "gpu_gib": peak, "host_gib": host}


def save(folder: Path, name: str, masks: dict[int, np.ndarray]) -> None:
    """One label map, as the official tool `vos_inference.py` leaves it."""
    from PIL import Image

    labels = np.zeros(SIZE, dtype=np.uint8)
    for object_id, mask in sorted(masks.items(), reverse=True):
        labels[mask] = object_id
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(folder / f"{name}.png")


def run_official(options: argparse.Namespace, data: object, out: Path, timing: Timing) -> None:
    """The official predictor, plain or `vos_optimized`, and SAMURAI's."""
    import torch
    from sam2.build_sam import build_sam2_video_predictor

    import mosam
    from mosam.model.meta_format import to_meta_state_dict

    size = options.model.rpartition(":")[2]
    configs = SAMURAI_CONFIGS if options.only == "samurai" else CONFIGS
    more = {"vos_optimized": True} if options.only == "official-vos" else {}
    predictor = build_sam2_video_predictor(configs[size], None, device=options.device, **more)
    weights = mosam.load_model(options.model, device="cpu", precision="fp32")
    predictor.load_state_dict(to_meta_state_dict(weights.model.state_dict()))
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(options.precision)
    device = options.device.split(":")[0]

    def clip(name: str) -> int:
        sequence = data[name]  # type: ignore[index]
        with torch.inference_mode(), torch.autocast(device, half) if half is not None else nullcontext():
            state = predictor.init_state(str(data.root / name), async_loading_frames=False)  # type: ignore[attr-defined]
            for prompt in sequence.prompts:
                predictor.add_new_mask(state, 0, prompt.object_id, prompt.mask)
            count = 0
            for index, ids, logits in predictor.propagate_in_video(state):
                on = (logits[:, 0] > 0).cpu().numpy()
                save(out / name, f"{index:05d}", dict(zip(ids, on, strict=True)))
                count += 1
        return count

    for number, name in enumerate(data):  # type: ignore[arg-type, var-annotated]
        timing.clip(lambda name=name: clip(name), counts=number > 0)


def run_transformers(options: argparse.Namespace, data: object, out: Path, timing: Timing) -> None:
    """`transformers`' video model with its own session."""
    import torch
    from transformers import Sam2VideoProcessor
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor
    from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

    import mosam

    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    kind = kinds[options.precision]
    model = mosam.load_model(options.model, device="cpu", precision="fp32", formulas="library").model
    model = model.to(options.device, kind).eval()
    side = model.config.image_size
    sides, low = {"height": side, "width": side}, {"height": side // 4, "width": side // 4}
    processor = Sam2VideoProcessor(
        Sam2ImageProcessor(size=sides, mask_size=low), Sam2VideoVideoProcessor(size=sides), target_size=side
    )

    def clip(name: str) -> int:
        sequence = data[name]  # type: ignore[index]
        frames = list(sequence.frames())
        with torch.inference_mode():
            session = processor.init_video_session(video=frames, inference_device=options.device, dtype=kind)
            processor.add_inputs_to_inference_session(
                session,
                frame_idx=0,
                obj_ids=list(sequence.object_ids),
                input_masks=[prompt.mask for prompt in sequence.prompts],
            )
            for index in range(len(frames)):
                output = model(inference_session=session, frame_idx=index)
                masks = processor.post_process_masks([output.pred_masks], original_sizes=[list(SIZE)])[0]
                on = (masks[:, 0] > 0).cpu().numpy()
                save(out / name, f"{index:05d}", dict(zip(sequence.object_ids, on, strict=True)))
        return len(frames)

    for number, name in enumerate(data):  # type: ignore[arg-type, var-annotated]
        timing.clip(lambda name=name: clip(name), counts=number > 0)


def run_ours(options: argparse.Namespace, data: object, out: Path, timing: Timing) -> None:
    """This project, many clips at a time where lanes say so."""
    import mosam

    model = mosam.load_model(options.model, device=options.device, precision=options.precision)
    policy = mosam.load_policy("sam2")
    names = list(data)  # type: ignore[call-overload]
    lanes = options.lane * options.object

    def clips(chosen: list[str], folder: str) -> int:
        part = data.select(chosen)  # type: ignore[attr-defined]
        mosam.run(part, model, policy, out=out / folder, max_lanes=lanes)
        return sum(len(data[name]) for name in chosen)  # type: ignore[index]

    # as many clips as lanes, so that every batch that is timed has been met; the others warm each shape with one clip
    timing.clip(lambda: clips(names[: options.lane], "warm"), counts=False)
    timing.clip(lambda: clips(names[-max(options.clips, options.lane) :], "timed"), counts=True)


def one(options: argparse.Namespace) -> None:
    """One program, in this process; prints a line of JSON."""
    from mosam.commands.bench import MadeClips

    runs = {"transformers": run_transformers, "ours": run_ours}
    timing = Timing(options.device)
    with tempfile.TemporaryDirectory() as name:
        clips = 1 + max(options.clips, options.lane)
        data = MadeClips(Path(name) / "clips", clips=clips, frames=options.frames, objects=options.object, size=SIZE)
        runs.get(options.only, run_official)(options, data, Path(name) / "out", timing)
    print(json.dumps(timing.result()))


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random:large")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--objects", default="1,3,10")
    parser.add_argument("--lanes", default="1,16")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--clips", type=int, default=2, help="timed clips of each program, at least as many as lanes")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--only", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--object", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--lane", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        one(options)
        return 0

    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("peers: no GPU here; --device cpu --model random:tiny compares on the processor", file=sys.stderr)
        return 0
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.machine()
    print(f"{where}, torch {torch.__version__}, {options.model}, {options.precision}", file=sys.stderr)
    print("| program | objects | lanes | fps | GPU GiB | host GiB |\n|---|---|---|---|---|---|")
    for objects in map(int, options.objects.split(",")):
        for peer in options.peers.split(","):
            reason = why_not(peer, objects)
            if reason is not None:
                print(f"{peer}, {objects} objects: left out, {reason}", file=sys.stderr)
                continue
            for lane in map(int, options.lanes.split(",")) if peer == "ours" else (1,):
                words = [sys.executable, __file__, "--only", peer, "--object", str(objects), "--lane", str(lane)]
                words += ["--model", options.model, "--device", options.device, "--precision", options.precision]
                words += ["--frames", str(options.frames), "--clips", str(options.clips)]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                if done.returncode:
                    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                    print(f"{peer}, {objects} objects: failed: {last}", file=sys.stderr)
                    continue
                found = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"| {peer} | {objects} | {lane} | {found['fps']:.2f} | {found['gpu_gib']:.2f} | "
                    f"{found['host_gib']:.2f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
