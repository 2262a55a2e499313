"""Measure in about a second how fast torch computes on this processor, and print it as one line of JSON.

Runs in the interpreter that was named, next to its torch (1.13 or newer); envdoctor never imports it. Start it by hand
with `python calibrate.py`. What is measured are the few figures that most of a step's time follows from: operations a
second of a matrix product and of a convolution, bytes a second from memory, from the caches and into memory that the
system has to hand out first, and the seconds that any operation costs however small it is.

Other programs disturb it: on a machine where four threads want two processors, a product on two threads was seen to
take fifty times as long, since each waits for the other. Therefore each piece takes a few milliseconds, the pieces take
turns, the best turn of each counts, and all is measured twice: alone, on one thread and in that thread's own time,
which others cannot stretch, and together, on all threads and by the clock.
"""

import json
import os
import sys
import time

BUDGET = 1.0  # seconds of measuring, after the import
SIDE = 512  # of the matrices: 0.27 GFLOP a product
LARGE = 12 << 20  # float32 elements: 48 MiB, more than the caches of most processors, and freshly mapped by glibc
SMALL = 128 << 10  # float32 elements: 512 KiB, which stays in the caches
CALLS = 100  # operations on next to nothing


def main():
    """Measure on one thread and on all of them, and print both."""
    voice = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not stand beside the result
    try:
        import torch
    except Exception as problem:
        sys.exit("torch cannot be imported: %s" % problem)
    threads = torch.get_num_threads()
    with torch.no_grad():
        pieces = make(torch)
        torch.set_num_threads(1)
        alone = measure(pieces, time.thread_time)
        torch.set_num_threads(threads)
        together = measure(pieces, time.perf_counter) if threads > 1 else alone
    found = {"library": "torch %s" % torch.__version__, "threads": threads, "alone": alone, "together": together}
    os.write(voice, (json.dumps(found) + "\n").encode())


def measure(pieces, clock):
    """Take turns for half of the budget; give each piece's best units a second."""
    best = dict.fromkeys(pieces, float("inf"))
    end = time.perf_counter() + BUDGET / 2
    turns = 0
    while turns < 3 or time.perf_counter() < end:
        for name, (_, piece) in pieces.items():
            if best[name] > BUDGET / 10 and turns:
                continue  # such as float16 on a processor without instructions for it
            begun = clock()
            piece()
            best[name] = min(best[name], max(clock() - begun, 1e-9))
        turns += 1
        if time.perf_counter() > end + BUDGET:
            break  # so disturbed that the best of one turn must do
    return {name: units / best[name] for name, (units, _) in pieces.items()}


def make(torch):
    """Give each piece: how much it does, and the function that does it."""
    small, row, tiny = torch.ones(SMALL), torch.ones(1, 3072), torch.zeros(16)
    weight = torch.ones(LARGE // 3072, 3072)
    half_weight, half_row = torch.ones(2 * LARGE // 3072, 3072, dtype=torch.bfloat16), row.bfloat16()
    image, kernel = torch.randn(1, 64, 56, 56), torch.randn(64, 64, 3, 3)
    matrices = {kind: torch.randn(SIDE, SIDE).to(getattr(torch, kind)) for kind in ("float32", "bfloat16", "float16")}

    def calls():
        for _ in range(CALLS):
            tiny.add(1.0)

    def product(kind):
        return 2 * SIDE**3, lambda: matrices[kind] @ matrices[kind]

    pieces = {
        "fp32": product("float32"),
        "convolution": (2 * 64 * 64 * 9 * 56 * 56, lambda: torch.conv2d(image, kernel, padding=1)),
        "bf16": product("bfloat16"),
        "stream": (4 * LARGE, lambda: torch.nn.functional.linear(row, weight)),
        "stream_bf16": (4 * LARGE, lambda: torch.nn.functional.linear(half_row, half_weight)),
        "fresh": (4 * LARGE, lambda: torch.empty(LARGE).fill_(1.0)),
        "cached": (2 * 4 * SMALL, lambda: torch.relu(small)),
        "calls": (CALLS, calls),
        "fp16": product("float16"),
    }
    for name in ("bf16", "fp16", "stream_bf16"):
        try:
            pieces[name][1]()
        except RuntimeError:  # older torch: "addmm_impl_cpu_" not implemented for 'Half'
            del pieces[name]
    return pieces


if __name__ == "__main__":
    main()
