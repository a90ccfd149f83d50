"""Architectures of timm, cut to few and narrow layers and small pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from libraries import load
from specimen import Batch, Specimen
from torch import Tensor, nn

CLASSES = 10


class Cut(NamedTuple):
    """A timm model and what makes it small; ``size`` is the side of a picture."""

    name: str
    settings: Mapping[str, Any] = {}
    size: int = 32


# Only dropout: these take no drop_path_rate.
NO_DROP_PATH = {"densenet121", "dla34", "ghostnet_050", "hrnet_w18_small", "efficientvit_b0"}

VIT = {"img_size": 32, "patch_size": 8, "depth": 3, "embed_dim": 48}

CUTS = (
    Cut("resnet18", {"channels": (8, 16, 16, 32)}),
    Cut("resnetv2_50", {"layers": (1, 1, 1, 1), "channels": (16, 32, 64, 64), "stem_chs": 16}),
    Cut("res2net50_26w_4s", {"layers": (1, 1, 1, 1), "base_width": 8}),
    Cut("seresnet50", {"layers": (1, 1, 1, 1), "channels": (8, 16, 16, 32)}),
    Cut("skresnet18", {"channels": (8, 16, 16, 32)}),
    Cut("densenet121", {"block_config": (2, 2, 2), "growth_rate": 8}),
    Cut("dla34", {"levels": (1, 1, 1, 2, 2, 1), "channels": (8, 8, 16, 16, 32, 32)}),
    Cut("regnetx_002"),
    Cut("regnety_002"),
    Cut("repvgg_a0"),
    Cut("hrnet_w18_small"),
    Cut("test_nfnet"),
    Cut("efficientnet_b0"),
    Cut("mobilenetv3_small_050"),
    Cut("mnasnet_small"),
    Cut("lcnet_050"),
    Cut("ghostnet_050"),
    Cut("convnext_atto", {"depths": (1, 1, 2, 1), "dims": (16, 32, 48, 64)}),
    Cut("edgenext_xx_small"),
    Cut("inception_next_atto", {"depths": (1, 1, 2, 1)}, 64),
    Cut("vit_tiny_patch16_224", VIT),
    Cut("deit_tiny_distilled_patch16_224", VIT),
    Cut("beit_base_patch16_224", {**VIT, "num_heads": 4}),
    Cut("eva02_tiny_patch14_224", {"img_size": 28, "depth": 3}, 28),
    Cut("cait_xxs24_224", VIT),
    Cut("xcit_nano_12_p16_224", {"img_size": 32, "depth": 3, "embed_dim": 32}),
    Cut("tnt_s_patch16_224", {"img_size": 32, "depth": 2}),
    Cut(
        "swin_tiny_patch4_window7_224",
        {
            "img_size": 32,
            "patch_size": 2,
            "window_size": 4,
            "depths": (1, 1, 2),
            "num_heads": (2, 2, 4),
            "embed_dim": 24,
        },
    ),
    Cut(
        "levit_128s",
        {"img_size": 64, "depth": (1, 1, 1), "embed_dim": (32, 48, 64), "num_heads": (2, 2, 2)},
        64,
    ),
    Cut(
        "coat_tiny",
        {
            "img_size": 64,
            "embed_dims": (16, 16, 16, 16),
            "serial_depths": (1, 1, 1, 1),
            "parallel_depth": 1,
        },
        64,
    ),
    Cut(
        "twins_svt_small",
        {
            "img_size": 64,
            "depths": (1, 1, 1, 1),
            "embed_dims": (16, 32, 48, 64),
            "num_heads": (1, 2, 2, 2),
        },
        64,
    ),
    Cut(
        "davit_tiny",
        {
            "depths": (1, 1, 1, 1),
            "embed_dims": (16, 32, 48, 64),
            "num_heads": (2, 2, 2, 2),
        },
    ),
    Cut("hiera_tiny_224", {"img_size": 64, "stages": (1, 1, 1, 1), "embed_dim": 16}, 64),
    Cut("mobilevit_xxs", {}, 64),
    Cut("efficientvit_b0", {}, 64),
    Cut("coatnet_pico_rw_224", {"img_size": 64}, 64),
)

# Settings that timm's own factories fix and refuse to change: these are built from their classes.
CLASS_CUTS = {
    "vgg11_bn": (
        "timm.models.vgg.VGG",
        {
            "cfg": (8, "M", 16, "M", 32, 32, "M", 32, "M"),
            "norm_layer": nn.BatchNorm2d,
            "mlp_ratio": 1 / 64,
        },
    ),
    "mixer": (
        "timm.models.mlp_mixer.MlpMixer",
        {"img_size": 32, "patch_size": 8, "num_blocks": 3, "embed_dim": 32},
    ),
    "poolformer": (
        "timm.models.metaformer.MetaFormer",
        {"depths": (1, 1, 1, 1), "dims": (16, 24, 32, 48)},
    ),
    "convmixer": ("timm.models.convmixer.ConvMixer", {"dim": 32, "depth": 3}),
}


def _build(cut: Cut) -> nn.Module:
    drops = {"drop_rate": 0.1} | ({} if cut.name in NO_DROP_PATH else {"drop_path_rate": 0.1})
    model: nn.Module = load("timm").create_model(
        cut.name, pretrained=False, num_classes=CLASSES, **drops, **cut.settings
    )
    return model


def _build_class(path: str, settings: Mapping[str, Any]) -> nn.Module:
    module, name = path.rsplit(".", 1)
    model: nn.Module = getattr(load(module), name)(num_classes=CLASSES, drop_rate=0.1, **settings)
    return model


def _pictures(size: int) -> Batch:
    return {"x": torch.randn(24, 3, size, size), "y": torch.randint(CLASSES, (24,))}


def _cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    logits = model(batch["x"])
    if isinstance(logits, tuple):  # distilled networks have two heads
        return sum((F.cross_entropy(each, batch["y"]) for each in logits), torch.zeros(()))
    return F.cross_entropy(logits, batch["y"])


def _specimen(name: str, build: Any, size: int) -> Specimen:
    return Specimen(
        name=name,
        build=build,
        data=lambda: _pictures(size),
        loss=_cross_entropy,
        settings={"lr": 0.01, "momentum": 0.9},
    )


VISION = tuple(_specimen(cut.name, lambda cut=cut: _build(cut), cut.size) for cut in CUTS) + tuple(
    _specimen(name, lambda path=path, settings=settings: _build_class(path, settings), 32)
    for name, (path, settings) in CLASS_CUTS.items()
)
