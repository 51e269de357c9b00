"""Names of the weights in Meta's checkpoint files and in the `transformers` modules, in both directions.

A Meta file is `{"model": state_dict}`, all fp32. It has the same tensors as the library's model but for two: four
tables of one point embedding each are one table of four there, and the random Fourier matrix is stored twice there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mosam.errors import MismatchError
from mosam.model.networks import NETWORKS, Network

POINT_TABLE = "prompt_encoder.point_embed.weight"
POINT_KINDS = 4
FOURIER = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
FOURIER_COPIES = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)

# Library name -> Meta name: every rule is applied, in this order.
RULES: tuple[tuple[str, str], ...] = (
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (r"^(object_pointer_proj|.*_head|.*output_hypernetworks_mlps\.\d)\.layers\.0\.", r"\1.layers.1."),
    (r"^(object_pointer_proj|.*_head|.*output_hypernetworks_mlps\.\d)\.proj_in\.", r"\1.layers.0."),
    (r"^(object_pointer_proj|.*_head|.*output_hypernetworks_mlps\.\d)\.proj_out\.", r"\1.layers.2."),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^vision_encoder\.neck\.(conv|norm)_", r"image_encoder.neck.convs.0.\1_"),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"^(prompt_encoder|mask_decoder)\.", r"sam_\1."),
    (r"\.o_proj\.", ".out_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"^(memory_encoder\.fuser\..*)\.scale$", r"\1.gamma"),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv([12])\.", r".pwconv\1."),
    *((rf"\.mask_downsampler\.layers\.{i}\.conv\.", f".mask_downsampler.encoder.{3 * i}.") for i in range(4)),
    *((rf"\.mask_downsampler\.layers\.{i}\.layer_norm\.", f".mask_downsampler.encoder.{3 * i + 1}.") for i in range(4)),
    (r"\.mask_downsampler\.final_conv\.", ".mask_downsampler.encoder.12."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"\.layer_norm(\d?)\.", r".norm\1."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
)
_COMPILED = tuple((re.compile(pattern), target) for pattern, target in RULES)


def meta_name(name: str) -> str:
    """Meta's name of a library weight; not defined for the point table, which is four weights there."""
    if name in FOURIER_COPIES:
        return FOURIER
    for pattern, target in _COMPILED:
        name = pattern.sub(target, name)
    return name


def _point_names() -> list[str]:
    return [f"sam_prompt_encoder.point_embeddings.{kind}.weight" for kind in range(POINT_KINDS)]


def meta_names(names: Iterable[str]) -> list[str]:
    """All Meta names of a library state dict's names, sorted."""
    found = {meta_name(name) for name in names if name != POINT_TABLE}
    return sorted(found | set(_point_names()))


def from_meta(weights: Mapping[str, Tensor], names: Iterable[str], *, where: str) -> dict[str, Tensor]:
    """Meta weights under the library's names.

    Args:
        weights: content of a Meta file's `model` entry.
        names: keys of the library model's state dict.
        where: the file, for the error.
    Raises:
        MismatchError: keys are missing or unexpected; the first of each are named.
    """
    names = list(names)
    expected = meta_names(names)
    check_keys(set(weights), set(expected), where=where)
    shapes = {tuple(weights[name].shape) for name in _point_names()}
    if len(shapes) > 1 or len(min(shapes)) != 2:
        raise MismatchError(
            f"{where}: expected point embeddings of one shape, got {', '.join(map(str, sorted(shapes)))}"
        )
    points = torch.cat([weights[name] for name in _point_names()])
    return {name: points if name == POINT_TABLE else weights[meta_name(name)] for name in names}


def to_meta_state_dict(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Library weights under Meta's names, as `{"model": ...}` of a Meta checkpoint file; inverse of `from_meta`.

    Raises:
        MismatchError: the two copies of the Fourier matrix differ, so no Meta file can hold them.
    """
    first, second = (weights[name] for name in FOURIER_COPIES)
    if not torch.equal(first, second):
        raise MismatchError(
            "to_meta_state_dict: expected one random Fourier matrix, got two different ones; copy "
            f"{FOURIER_COPIES[0]} into {FOURIER_COPIES[1]}"
        )
    points = dict(zip(_point_names(), weights[POINT_TABLE].split(1), strict=True))
    return {meta_name(name): value for name, value in weights.items() if name != POINT_TABLE} | points


def check_keys(found: set[str], expected: set[str], *, where: str, title: str = "SAM 2") -> None:
    """Compare the keys of a checkpoint with those of the model.

    Raises:
        MismatchError: they differ; names the first three missing and unexpected ones.
    """
    missing, unexpected = sorted(expected - found), sorted(found - expected)
    if not missing and not unexpected:
        return
    parts = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for kind, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    raise MismatchError(f"{where}: expected the {len(expected)} weights of {title}, got {' and '.join(parts)}")


def network_of(weights: Mapping[str, Tensor], *, where: str) -> tuple[str, Network]:
    """Which network a Meta checkpoint belongs to, by the width and number of its image encoder's blocks.

    Raises:
        MismatchError: not a SAM 2 checkpoint, SAM 2.0, or an unknown size.
    """
    first = weights.get("image_encoder.trunk.patch_embed.proj.weight")
    if first is None or first.ndim != 4:
        keys = ", ".join(list(weights)[:3]) or "no weights"
        raise MismatchError(f"{where}: expected a SAM 2 checkpoint, got another model's ({keys} ...)")
    blocks = {match[1] for name in weights if (match := re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", name))}
    for name, network in NETWORKS.items():
        if network.channels[0] == first.shape[0] and sum(network.blocks) == len(blocks):
            return name, network
    raise MismatchError(
        f"{where}: expected the image encoder of {', '.join(NETWORKS)}, "
        f"got {len(blocks)} blocks of {first.shape[0]} channels; use a local folder with a config.json"
    )
