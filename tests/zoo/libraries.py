"""Importing timm and transformers where torch is built for CPU and torchvision for CUDA."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library that is collected takes its names along


def load(name: str) -> ModuleType:
    """Import a module of timm or transformers.

    Such a torchvision cannot load its operators, and then its import fails over two that it
    describes without looking; nothing here uses them, so declaring them is enough.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(operator + _SCHEMA)
        _declared.append(library)
        importlib.import_module("torchvision")
    return importlib.import_module(name)
