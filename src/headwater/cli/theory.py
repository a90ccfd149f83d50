"""``headwater theory``: what an activation does to signal and gradient, in numbers or drawn."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

DTYPES = ("float16", "bfloat16", "float32", "float64")


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "activation", metavar="ACTIVATION", help="its name, as in gelu or 'leaky_relu(0.2)'"
    )
    parser.add_argument(
        "--sigma-w",
        type=_positive,
        metavar="S",
        help="deviation of a weight times root fan-in; else what keeps the gradient at variance 1",
    )
    parser.add_argument(
        "--sigma-b", type=_size, default=0.0, metavar="S", help="deviation of a bias (default 0)"
    )
    parser.add_argument("--depth", type=_count, default=50, metavar="N", help="layers (default 50)")
    parser.add_argument(
        "--width", type=_count, default=256, metavar="N", help="units a layer (default 256)"
    )
    parser.add_argument("--dtype", choices=DTYPES, help="one number format; else all four")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as PNG, SVG or PDF")
    parser.add_argument("--json", action="store_true", help="the numbers as JSON")


def run(arguments: Namespace, /) -> int:
    """Print the numbers, and draw the picture if one is wanted."""
    import json

    from headwater.cli.theory_numbers import Question, answer, lines
    from headwater.theory import find_activation
    from headwater.theory.initialisation import gain

    activation = find_activation(arguments.activation)
    question = Question(
        activation=activation,
        sigma_w=arguments.sigma_w or gain(activation),
        sigma_b=arguments.sigma_b,
        depth=arguments.depth,
        width=arguments.width,
        dtypes=(arguments.dtype,) if arguments.dtype else DTYPES,
    )
    numbers = answer(question)
    if arguments.plot:
        from headwater.cli.theory_picture import draw

        draw(question, arguments.plot)
    if arguments.json:
        print(json.dumps(numbers, indent=2))
    else:
        print("\n".join(lines(numbers)))
    return 0


def _positive(text: str) -> float:
    value = _size(text)
    if value == 0:
        raise ArgumentTypeError("it takes a number over 0, got 0")
    return value


def _size(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"it takes a number from 0 on, got {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise ArgumentTypeError(f"it takes a whole number from 1 to 100000, got {text!r}")
    return int(text)
