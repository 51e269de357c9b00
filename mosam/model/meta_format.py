"""Names of the weights in Meta's checkpoint files and in the `transformers` modules, in both directions.

A Meta file is `{"model": state_dict}`, all fp32. It has the same tensors as the library's model but for a few: four
tables of one point embedding each are one table of four there, the random Fourier matrix is stored twice there, and
projections that one matrix of the file holds have one each there. The rules here are those of SAM 2; `MetaNames` is
where another program of the family differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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

Rules = tuple[tuple[str, str], ...]

# Library name -> Meta name: every rule is applied, in this order.
RULES: Rules = (
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
_PART = re.compile(r"#(\d)/(\d)$")


@dataclass(frozen=True, slots=True)
class MetaNames:
    """How the program of a network names weights, where it differs from SAM 2.

    Attributes:
        title: of the network, for errors.
        before: rules that are applied before `RULES`.
        after: rules that are applied after them.

    The name that a rule makes may end in `#1/3`: the second of three equal parts, along the first axis, of that weight.
    """

    title: str = "SAM 2"
    before: Rules = ()
    after: Rules = ()

    def place(self, name: str) -> tuple[str, int, int]:
        """Meta's name of a library weight, which part of that weight it is, and of how many.

        Not defined for the point table, which is four weights there.
        """
        if name in FOURIER_COPIES:
            return _apply(self.after, FOURIER), 0, 1
        name = _apply(self.before + RULES + self.after, name)
        part = _PART.search(name)
        return (name[: part.start()], int(part[1]), int(part[2])) if part else (name, 0, 1)

    def points(self) -> list[str]:
        """Meta's names of the four point embeddings."""
        return [_apply(self.after, f"sam_prompt_encoder.point_embeddings.{kind}.weight") for kind in range(POINT_KINDS)]


SAM2_NAMES = MetaNames()


def _apply(rules: Rules, name: str) -> str:
    for pattern, target in rules:
        name = re.sub(pattern, target, name)
    return name


def meta_name(name: str, names: MetaNames = SAM2_NAMES) -> str:
    """Meta's name of a library weight; not defined for the point table, which is four weights there."""
    return names.place(name)[0]


def meta_names(own: Iterable[str], names: MetaNames = SAM2_NAMES) -> list[str]:
    """All Meta names of a library state dict's names, sorted."""
    found = {meta_name(name, names) for name in own if name != POINT_TABLE}
    return sorted(found | set(names.points()))


def from_meta(
    weights: Mapping[str, Tensor], own: Iterable[str], *, where: str, names: MetaNames = SAM2_NAMES
) -> dict[str, Tensor]:
    """Meta weights under the library's names.

    Args:
        weights: content of a Meta file's `model` entry.
        own: keys of the library model's state dict.
        where: the file, for the error.
        names: of the program.
    Raises:
        MismatchError: keys are missing or unexpected, of which the first are named; a weight that is no table.
    """
    own = list(own)
    check_keys(set(weights), set(meta_names(own, names)), where=where, title=names.title)
    shapes = {tuple(weights[name].shape) for name in names.points()}
    if len(shapes) > 1 or len(min(shapes)) != 2:
        raise MismatchError(
            f"{where}: expected point embeddings of one shape, got {', '.join(map(str, sorted(shapes)))}"
        )
    points = torch.cat([weights[name] for name in names.points()])
    return {name: points if name == POINT_TABLE else _part(weights, *names.place(name), where) for name in own}


def _part(weights: Mapping[str, Tensor], name: str, index: int, count: int, where: str) -> Tensor:
    """One of equal parts of a weight."""
    whole = weights[name]
    if count == 1:
        return whole
    if whole.ndim == 0 or len(whole) % count:
        raise MismatchError(
            f"{where}: expected {name} of {count} equal parts, got shape {tuple(whole.shape)}; the checkpoint is of "
            "another model"
        )
    return whole.chunk(count)[index]


def to_meta_state_dict(weights: Mapping[str, Tensor], names: MetaNames = SAM2_NAMES) -> dict[str, Tensor]:
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
    parts: dict[str, dict[int, Tensor]] = {}
    for own, value in weights.items():
        if own != POINT_TABLE:
            name, index, _ = names.place(own)
            parts.setdefault(name, {})[index] = value
    points = dict(zip(names.points(), weights[POINT_TABLE].split(1), strict=True))
    whole = {
        name: found[0] if len(found) == 1 else torch.cat([found[i] for i in sorted(found)])
        for name, found in parts.items()
    }
    return whole | points


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
