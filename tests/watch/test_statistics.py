"""Norms of tensors of every kind and size, against float64 arithmetic done apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from headwater.watch.statistics import Fetched, combine, decades, norm, norms, subnormal_limit

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def exact(tensor: Tensor) -> float:
    """Return the norm by numpy, in longdouble where there is one, scaled by the largest entry."""
    dense = tensor.detach().to_dense() if tensor.layout is not torch.strided else tensor.detach()
    wide = dense.to(torch.complex128 if dense.is_complex() else torch.float64).numpy()
    size = np.abs(wide).astype(np.longdouble)
    largest = size.max(initial=0.0)
    if not largest:
        return 0.0
    return float(np.sqrt(np.sum((size / largest) ** 2)) * largest)


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64).to(dtype)


TENSORS: dict[str, Callable[[], Tensor]] = {
    "ordinary": lambda: drawn(30, 40),
    "one entry": lambda: torch.tensor([-3.0]),
    "zero-dimensional": lambda: torch.tensor(-2.5),
    "transposed": lambda: drawn(300, 600).t(),
    "every other column": lambda: drawn(600, 600)[:, ::2],
    "channels last": lambda: drawn(4, 16, 64, 64).to(memory_format=torch.channels_last),
    "channels last, strided": lambda: drawn(8, 16, 64, 64).to(memory_format=torch.channels_last)[
        ::2, :, 1:
    ],
    "expanded": lambda: drawn(1, 700).expand(600, 700),
    "expanded scalar": lambda: torch.tensor(0.1).expand(1000, 1000),
    "many equal entries": lambda: torch.full((131_072,), 0.7),
    "many equal entries and some": lambda: torch.full((131_071,), 0.7),
    "equal entries in bfloat16": lambda: torch.full((20_000,), 0.9, dtype=torch.bfloat16),
    "flipped view of memory": lambda: drawn(400, 500).flip(0).t()[3:],
    "one more than the blocks": lambda: drawn((1 << 17) + 1),
    "large entries": lambda: torch.full((7, 3), 1e20),
    "very large entries": lambda: torch.full((200_000,), 3e38),
    "small entries": lambda: torch.full((7, 3), 1e-23),
    "many small entries": lambda: torch.full((200_000,), 1e-23),
    "subnormal entries": lambda: torch.full((5,), 1e-44),
    "many subnormal entries": lambda: torch.full((200_000,), 3e-45),
    "one large among small": lambda: torch.cat([torch.full((9,), 1e-20), torch.tensor([1e19])]),
    "one small block in a large tensor": lambda: torch.cat(
        [torch.full((1 << 17,), 1e-25), drawn(1 << 17)]
    ),
    "float64 near overflow": lambda: torch.full((5,), 1e300, dtype=torch.float64),
    "float64 near underflow": lambda: torch.full((5,), 1e-300, dtype=torch.float64),
    "float64 subnormal": lambda: torch.full((5,), 5e-324, dtype=torch.float64),
    "float16 near overflow": lambda: torch.full((70_000,), 6e4, dtype=torch.float16),
    "float16 subnormal": lambda: torch.full((70_000,), 6e-8, dtype=torch.float16),
    "bfloat16 large": lambda: torch.full((70_000,), 1e38, dtype=torch.bfloat16),
    "bfloat16 small": lambda: torch.full((200_000,), 1e-38, dtype=torch.bfloat16),
    "complex": lambda: torch.complex(drawn(30, 40), drawn(40, 30).t()),
    "complex, large": lambda: torch.full((9,), complex(1e25, -2e25), dtype=torch.complex64),
    "complex128, large": lambda: torch.full((9,), complex(1e200, 1e200), dtype=torch.complex128),
    "sparse": lambda: torch.sparse_coo_tensor([[1, 1, 3]], [[3.0, 1.0], [1.0, 1.0], [0.0, -2.0]]),
    "compressed": lambda: (drawn(20, 20) > 1).float().to_sparse_csr(),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", TENSORS)
def test_a_norm_is_right_to_a_millionth(name: str) -> None:
    tensor = TENSORS[name]()
    found = norm(tensor)
    assert isinstance(found, float)
    assert found == pytest.approx(exact(tensor), rel=1e-6, abs=0)
    assert norms([tensor, torch.ones(4)]) == [found, 2.0]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_ten_million_entries_are_right_to_a_millionth(dtype: torch.dtype, scale: float) -> None:
    torch.manual_seed(0)
    tensor = (torch.rand(10_000_000) * scale).to(dtype)
    expected = float(np.linalg.norm(tensor.double().numpy()))
    assert norm(tensor) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4, 5)])
def test_the_norm_of_nothing_is_zero(shape: tuple[int, ...]) -> None:
    assert norm(torch.empty(shape)) == 0.0
    assert norms([]) == []
    assert combine([]) == 0.0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [3, 300_000])
def test_what_is_not_finite_stays_so(dtype: torch.dtype, size: int) -> None:
    tensor = torch.ones(size, dtype=dtype)
    tensor[1] = math.inf
    assert norm(tensor) == math.inf
    tensor[2] = math.nan
    assert math.isnan(norm(tensor))
    assert norm(torch.zeros(size, dtype=dtype)) == 0.0


def test_a_norm_leaves_its_tensor_and_its_graph_alone() -> None:
    leaf = drawn(5).requires_grad_()
    version = leaf._version
    assert norm(leaf) == norm(leaf.detach())
    assert leaf._version == version
    assert leaf.grad is None
    assert norm(leaf.exp()) > 0


def test_norms_combine_without_overflow() -> None:
    assert combine([3e200, 4e200]) == pytest.approx(5e200)
    assert combine([3e-200, 4e-200]) == pytest.approx(5e-200)
    mixed = combine([3.0, torch.tensor(4.0, dtype=torch.float64)])
    assert float(mixed) == pytest.approx(5.0)


def test_fetched_figures_come_back_in_their_order_and_kind() -> None:
    vector, scalar = torch.tensor([1.0, 2.0]), torch.tensor(3)
    fetched = Fetched([None, 0.5, vector, scalar, torch.tensor([])])
    assert fetched.done()
    assert fetched.values() == [None, 0.5, [1.0, 2.0], 3.0, []]


def test_decades_name_zero_and_what_is_not_finite() -> None:
    assert decades(1e-5) == pytest.approx(-5)
    assert decades(0.0) == -math.inf
    assert all(math.isnan(decades(size)) for size in (math.inf, math.nan, None))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.complex64, torch.complex128])
def test_the_smallest_normal_number_is_that_of_the_entries(dtype: torch.dtype) -> None:
    assert subnormal_limit(dtype) == torch.finfo(dtype).tiny
