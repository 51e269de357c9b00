"""How near memory attention comes to the matrix-product rate of this processor, by processor time of one thread.

    python benchmarks/attention.py [--queries 1024] [--keys 28736] [--rounds 3]

One head of 256 channels, as in SAM 2.1: a frame of 64 x 64 queries over seven memories and 16 pointers is 4096 x 28736;
fewer queries cost less time and give the same rates. Time is that of the thread, so that company does not count. The
error is against attention in 64 bits of the same operands, root of the mean square, relative; the second one of logits
three times as large.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from mosam.model.blocked import attend_in_blocks

CHANNELS = 256
SIDE = 1024
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: int = 256) -> torch.Tensor:
    """Attention as two products and a softmax, some queries at a time."""
    scaled = query * query.shape[-1] ** -0.5
    parts = [torch.softmax(part @ key.transpose(-1, -2), dim=-1) @ value for part in scaled.split(rows, dim=-2)]
    return torch.cat(parts, dim=-2)


def error(kernel: Kernel, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> float:
    """Of the first queries' results, relative."""
    query = query[..., :64, :]
    exact = plain(query.double(), key.double(), value.double())
    return float((kernel(query, key, value).double() - exact).norm() / exact.norm())


def rate(work: Callable[[], object], flops: float, rounds: int) -> float:
    """GFLOP/s of the thread, median."""
    times = []
    with torch.inference_mode():
        work()
        for _ in range(rounds):
            started = time.thread_time()
            work()
            times.append(time.thread_time() - started)
    return flops / statistics.median(times) / 1e9


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--keys", type=int, default=28736)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    query = torch.randn(1, 1, options.queries, CHANNELS)
    key, value = (torch.randn(1, 1, options.keys, CHANNELS) for _ in range(2))
    square = torch.randn(SIDE, SIDE)
    flops = 4.0 * options.queries * options.keys * CHANNELS
    kernels: dict[str, Kernel] = {
        "scaled_dot_product_attention": F.scaled_dot_product_attention,
        "products and softmax": plain,
        "our blocks": attend_in_blocks,
    }
    print("| type | kernel | GFLOP/s of a thread | of the product of that type | error | error, x 3 |")
    print("|---|---|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        a = square.to(dtype)
        q, k, v = query.to(dtype), key.to(dtype), value.to(dtype)
        best = rate(partial(torch.matmul, a, a), 2.0 * SIDE**3, options.rounds)
        print(f"| {name} | matrix product | {best:.1f} | 100% | - | - |", flush=True)
        with torch.inference_mode():
            for label, kernel in kernels.items():
                if kernel is attend_in_blocks and dtype is torch.float32:
                    continue  # they are for 16 bits
                got = rate(partial(kernel, q, k, v), flops, options.rounds)
                errors = [error(kernel, q * scale, k, v) for scale in (1, 3)]
                cells = " | ".join(f"{e:.1e}" for e in errors)
                print(f"| {name} | {label} | {got:.1f} | {100 * got / best:.0f}% | {cells} |", flush=True)


if __name__ == "__main__":
    main()
