"""How near memory attention comes to the matrix-product rate of this processor, by processor time of one thread.

    python benchmarks/attention.py [--queries 1024] [--keys 28736] [--rounds 3]

One head of 256 channels, as in SAM 2.1: a frame of 64 x 64 queries over seven memories and 16 pointers is 4096 x 28736;
fewer queries cost less time and give the same rates. Time is that of the thread, so that company does not count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

CHANNELS = 256
SIDE = 1024


def blocked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: int = 256) -> torch.Tensor:
    """Attention as two products and a softmax, some queries at a time."""
    scaled = query * query.shape[-1] ** -0.5
    parts = [torch.softmax(part @ key.transpose(-1, -2), dim=-1) @ value for part in scaled.split(rows, dim=-2)]
    return torch.cat(parts, dim=-2)


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
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = square.to(dtype)
        q, k, v = query.to(dtype), key.to(dtype), value.to(dtype)
        rates[name, "matrix product"] = rate(lambda a=a: a @ a, 2.0 * SIDE**3, options.rounds)
        rates[name, "scaled_dot_product_attention"] = rate(
            lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v), flops, options.rounds
        )
        rates[name, "blocks of 256 queries"] = rate(lambda q=q, k=k, v=v: blocked(q, k, v), flops, options.rounds)
    print("| type | kernel | GFLOP/s of a thread | of the fp32 matrix product |\n|---|---|---|---|")
    for (name, kernel), value_ in rates.items():
        print(f"| {name} | {kernel} | {value_:.1f} | {100 * value_ / rates['fp32', 'matrix product']:.0f}% |")


if __name__ == "__main__":
    main()
