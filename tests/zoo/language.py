"""Architectures of transformers, built from tiny configurations with dropout on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from libraries import load
from specimen import Batch, Specimen
from torch import Tensor, nn

WORDS = 64

ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZE = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
ENCODER = {**SIZE, "intermediate_size": 64, "max_position_embeddings": 64}
DECODER = {**ENCODER, **ENDS, "num_key_value_heads": 2, "attention_dropout": 0.1}
GPT = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
PAIR = {
    **ENDS,
    "vocab_size": WORDS,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "decoder_start_token_id": 2,
    "dropout": 0.1,
}
BLOCKS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
PICTURES = {**BLOCKS, "image_size": 32, "patch_size": 8}

# Each: the model's class, and its configuration's settings.
WRITERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("BertForMaskedLM", ENCODER),
    "roberta": ("RobertaForMaskedLM", {**ENCODER, **ENDS}),
    "distilbert": (
        "DistilBertForMaskedLM",
        {"vocab_size": WORDS, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    ),
    "electra": ("ElectraForMaskedLM", {**ENCODER, "embedding_size": 32}),
    "albert": (
        "AlbertForMaskedLM",
        {
            **ENCODER,
            **ENDS,
            "embedding_size": 16,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
        },
    ),
    "deberta_v2": (
        "DebertaV2ForMaskedLM",
        {**ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "convbert": ("ConvBertForMaskedLM", {**ENCODER, **ENDS, "embedding_size": 32}),
    "mpnet": ("MPNetForMaskedLM", {**ENCODER, **ENDS}),
    "fnet": ("FNetForMaskedLM", {**ENCODER, **ENDS}),
    "xlnet": (
        "XLNetLMHeadModel",
        {**ENDS, "vocab_size": WORDS, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    ),
    "gpt2": ("GPT2LMHeadModel", {**GPT, **ENDS}),
    "gptj": ("GPTJForCausalLM", {**GPT, **ENDS, "rotary_dim": 4, "resid_pdrop": 0.1}),
    "gpt_neox": (
        "GPTNeoXForCausalLM",
        {**ENCODER, **ENDS, "hidden_dropout": 0.1, "attention_dropout": 0.1},
    ),
    "opt": (
        "OPTForCausalLM",
        {**SIZE, **ENDS, "ffn_dim": 64, "max_position_embeddings": 64, "word_embed_proj_dim": 32},
    ),
    "bloom": (
        "BloomForCausalLM",
        {
            **ENDS,
            "vocab_size": WORDS,
            "hidden_size": 32,
            "n_layer": 2,
            "n_head": 4,
            "hidden_dropout": 0.1,
        },
    ),
    "falcon": ("FalconForCausalLM", {**SIZE, **ENDS, "hidden_dropout": 0.1}),
    "llama": ("LlamaForCausalLM", DECODER),
    "mistral": ("MistralForCausalLM", {**DECODER, "sliding_window": 8}),
    "mixtral": (
        "MixtralForCausalLM",
        {
            **DECODER,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "output_router_logits": True,
        },
    ),
    "qwen2": ("Qwen2ForCausalLM", DECODER),
    "qwen3": ("Qwen3ForCausalLM", {**DECODER, "head_dim": 8}),
    "gemma": ("GemmaForCausalLM", {**DECODER, "head_dim": 8}),
    "gemma2": ("Gemma2ForCausalLM", {**DECODER, "head_dim": 8, "sliding_window": 8}),
    "phi": ("PhiForCausalLM", {**DECODER, "resid_pdrop": 0.1}),
    "stablelm": ("StableLmForCausalLM", {**DECODER, "hidden_dropout": 0.1}),
    "olmo": ("OlmoForCausalLM", DECODER),
    "mamba": (
        "MambaForCausalLM",
        {**ENDS, "vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    ),
    "t5": (
        "T5ForConditionalGeneration",
        {
            "vocab_size": WORDS,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
    ),
    "bart": (
        "BartForConditionalGeneration",
        {**PAIR, "max_position_embeddings": 64, "forced_eos_token_id": 2},
    ),
}


def _sentences() -> Batch:
    return {
        "input_ids": torch.randint(3, WORDS, (24, 12)),
        "labels": torch.randint(3, WORDS, (24, 12)),
    }


OTHERS: Mapping[str, tuple[str, Mapping[str, Any], Callable[[], Batch]]] = {
    "vit": (
        "ViTForImageClassification",
        {**PICTURES, "hidden_dropout_prob": 0.1},
        lambda: {"pixel_values": torch.randn(24, 3, 32, 32), "labels": torch.randint(2, (24,))},
    ),
    "clip": (
        "CLIPModel",
        {
            "text_config": {**ENCODER, **ENDS, "attention_dropout": 0.1},
            "vision_config": {**PICTURES, "attention_dropout": 0.1},
            "projection_dim": 16,
        },
        lambda: {
            "input_ids": torch.randint(3, WORDS, (24, 12)),
            "pixel_values": torch.randn(24, 3, 32, 32),
        },
    ),
    "whisper": (
        "WhisperForConditionalGeneration",
        {
            **PAIR,
            "num_mel_bins": 16,
            "max_source_positions": 32,
            "max_target_positions": 32,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
        lambda: {
            "input_features": torch.randn(24, 16, 64),
            "labels": torch.randint(3, WORDS, (24, 12)),
        },
    ),
    "wav2vec2": (
        "Wav2Vec2ForCTC",
        {
            **BLOCKS,
            "vocab_size": 32,
            "conv_dim": (16, 16, 16),
            "conv_stride": (5, 2, 2),
            "conv_kernel": (10, 3, 3),
            "num_feat_extract_layers": 3,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
            "mask_time_length": 2,
            "ctc_loss_reduction": "mean",
        },
        lambda: {"input_values": torch.randn(24, 1600), "labels": torch.randint(3, 32, (24, 8))},
    ),
}


def _build(model: str, settings: Mapping[str, Any]) -> nn.Module:
    kind = getattr(load("transformers"), model)
    built: nn.Module = kind(kind.config_class(**settings))
    return built.train()


def _own_loss(model: nn.Module, batch: Batch) -> Tensor:
    more = {} if "labels" in batch else {"return_loss": True}
    loss: Tensor = model(**batch, **more).loss
    return loss


def _specimen(
    name: str, model: str, settings: Mapping[str, Any], data: Callable[[], Batch]
) -> Specimen:
    return Specimen(
        name=name,
        build=lambda: _build(model, settings),
        data=data,
        loss=_own_loss,
        settings={"lr": 1e-3},
    )


LANGUAGE = tuple(
    _specimen(name, model, settings, _sentences) for name, (model, settings) in WRITERS.items()
) + tuple(
    _specimen(name, model, settings, data) for name, (model, settings, data) in OTHERS.items()
)
