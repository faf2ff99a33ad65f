"""Image models of transformers, each of a small config: two layers or stages, and widths of tens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_VIT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
_WINDOWS = {"embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
_TEXTLESS = {**_VIT, "patch_size": 16}
_STAGES = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2]}

Hub = dict[str, tuple[str, int, dict[str, Any]]]
HUB: Hub = {
    "hf_vit": ("ViTForImageClassification", 64, {**_VIT, "patch_size": 16}),
    "hf_deit": ("DeiTForImageClassification", 64, {**_VIT, "patch_size": 16}),
    "hf_beit": ("BeitForImageClassification", 64, {**_VIT, "patch_size": 16, "use_relative_position_bias": True}),
    "hf_dinov2": ("Dinov2ForImageClassification", 56, {**_VIT, "patch_size": 14, "mlp_ratio": 2}),
    "hf_swin": ("SwinForImageClassification", 64, _WINDOWS),
    "hf_swinv2": ("Swinv2ForImageClassification", 64, _WINDOWS),
    "hf_convnext": ("ConvNextForImageClassification", 64, {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}),
    "hf_convnextv2": (
        "ConvNextV2ForImageClassification",
        64,
        {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]},
    ),
    "hf_resnet": ("ResNetForImageClassification", 64, {**_STAGES, "layer_type": "basic"}),
    "hf_regnet": ("RegNetForImageClassification", 64, {**_STAGES, "groups_width": 8}),
    "hf_mobilenet_v1": ("MobileNetV1ForImageClassification", 64, {"depth_multiplier": 0.25}),
    "hf_mobilenet_v2": ("MobileNetV2ForImageClassification", 64, {"depth_multiplier": 0.35}),
    "hf_mobilevit": (
        "MobileViTForImageClassification",
        64,
        {"hidden_sizes": [24, 32, 40], "neck_hidden_sizes": [8, 12, 16, 20, 24, 28, 64], "intermediate_size": 48},
    ),
    "hf_poolformer": (
        "PoolFormerForImageClassification",
        64,
        {"hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 1, 1]},
    ),
    "hf_pvt_v2": (
        "PvtV2ForImageClassification",
        64,
        {"hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 5, 8]},
    ),
    "hf_efficientnet": (
        "EfficientNetForImageClassification",
        64,
        {"width_coefficient": 0.25, "depth_coefficient": 0.5, "hidden_dim": 320},
    ),
    "hf_levit": (
        "LevitForImageClassification",
        64,
        {"hidden_sizes": [32, 48, 64], "depths": [1, 1, 1], "key_dim": [8, 8, 8], "num_attention_heads": [2, 3, 4]},
    ),
    "hf_segformer": (
        "SegformerForSemanticSegmentation",
        64,
        {"hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1], "decoder_hidden_size": 32},
    ),
    "hf_dpt": (
        "DPTForDepthEstimation",
        64,
        {
            **_TEXTLESS,
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [16, 24, 32, 48],
            "fusion_hidden_size": 16,
        },
    ),
    "hf_yolos": ("YolosForObjectDetection", 64, {**_TEXTLESS, "num_detection_tokens": 10}),
    "hf_siglip": ("SiglipVisionModel", 64, _TEXTLESS),
    "hf_clip": ("CLIPVisionModel", 64, _TEXTLESS),
}
"""Class, side of the input and settings of the config, by the name that it has here."""


def config_of(name: str) -> Any:
    """Return the config of one, a `transformers.PretrainedConfig`."""
    import transformers

    kind, size, settings = HUB[name]
    sides = [size, size] if name == "hf_yolos" else size
    made = getattr(transformers, kind).config_class(image_size=sides, num_labels=10, **settings)
    made.architectures = [kind]
    return made


def build(name: str) -> Any:
    """Return one, its weights as transformers draws them."""
    import transformers

    return getattr(transformers, HUB[name][0])(config_of(name))


def load(name: str, folder: Path) -> Any:
    """Return one with the weights of a folder that was written for `hf:`, in evaluation mode."""
    import transformers

    return getattr(transformers, HUB[name][0]).from_pretrained(folder).eval()
