"""A training script of which ``overhead.py`` times whole runs: ``training.py SIZE STEPS [DEVICE]``.

It knows nothing of Headwater. Its last line is the time of its steps alone, in seconds.
"""

from __future__ import annotations

import sys
import time

from networks import perceptron, transformer

SIZES = {
    "1ms": lambda: perceptron(layers=4, width=128),
    "20ms": lambda: transformer(layers=2, width=128, batch=4),
    "200ms": lambda: transformer(layers=6, width=256, batch=8),
}

if __name__ == "__main__":
    size, steps = sys.argv[1], int(sys.argv[2])
    trainer = SIZES[size]().to(sys.argv[3] if len(sys.argv) > 3 else "cpu")
    started = time.perf_counter()
    for _step in range(steps):
        loss = trainer.step()
        if _step % 100 == 99:
            print(f"step {_step + 1}  loss {loss.item():.4f}")
    print(time.perf_counter() - started)
