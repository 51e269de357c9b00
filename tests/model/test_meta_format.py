"""Key mapping between Meta's files and the library, both ways."""

from __future__ import annotations

import pytest
import torch

from mosam.errors import MismatchError
from mosam.model.library import build_random
from mosam.model.meta_format import FOURIER_COPIES, from_meta, meta_name, meta_names, network_of, to_meta_state_dict
from mosam.model.networks import NETWORKS, library_config

COUNTS = {"tiny": 471, "small": 519, "base-plus": 615, "large": 903}  # keys of the published files


@pytest.fixture(scope="module")
def weights():
    return build_random(NETWORKS["nano"], 1).state_dict()


@pytest.mark.parametrize("size", COUNTS)
def test_every_published_size_has_the_official_number_of_keys(size):
    from transformers import Sam2VideoModel

    with torch.device("meta"):
        names = list(Sam2VideoModel(library_config(NETWORKS[size])).state_dict())
    found = meta_names(names)
    assert len(found) == len(set(found)) == COUNTS[size]
    own = [name for name in names if name not in FOURIER_COPIES]
    assert len({meta_name(name) for name in own}) == len(own)  # no two weights under one name


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("memory_temporal_positional_encoding", "maskmem_tpos_enc"),
        ("object_pointer_proj.proj_out.bias", "obj_ptr_proj.layers.2.bias"),
        ("object_pointer_proj.layers.0.bias", "obj_ptr_proj.layers.1.bias"),
        ("vision_encoder.backbone.blocks.0.mlp.proj_out.weight", "image_encoder.trunk.blocks.0.mlp.layers.1.weight"),
        ("vision_encoder.backbone.blocks.0.layer_norm1.weight", "image_encoder.trunk.blocks.0.norm1.weight"),
        ("vision_encoder.neck.convs.3.bias", "image_encoder.neck.convs.3.conv.bias"),
        ("mask_decoder.iou_prediction_head.layers.0.weight", "sam_mask_decoder.iou_prediction_head.layers.1.weight"),
        (
            "mask_decoder.output_hypernetworks_mlps.2.proj_in.weight",
            "sam_mask_decoder.output_hypernetworks_mlps.2.layers.0.weight",
        ),
        ("mask_decoder.upscale_layer_norm.bias", "sam_mask_decoder.output_upscaling.1.bias"),
        (
            "mask_decoder.transformer.layers.1.cross_attn_image_to_token.o_proj.bias",
            "sam_mask_decoder.transformer.layers.1.cross_attn_image_to_token.out_proj.bias",
        ),
        ("mask_decoder.transformer.layer_norm_final_attn.bias", "sam_mask_decoder.transformer.norm_final_attn.bias"),
        ("prompt_encoder.mask_embed.layer_norm2.bias", "sam_prompt_encoder.mask_downscaling.4.bias"),
        ("memory_encoder.memory_fuser.layers.1.scale", "memory_encoder.fuser.layers.1.gamma"),
        ("memory_encoder.memory_fuser.layers.0.layer_norm.bias", "memory_encoder.fuser.layers.0.norm.bias"),
        ("memory_encoder.mask_downsampler.layers.3.conv.bias", "memory_encoder.mask_downsampler.encoder.9.bias"),
        ("memory_encoder.projection.weight", "memory_encoder.out_proj.weight"),
        ("memory_attention.layer_norm.weight", "memory_attention.norm.weight"),
    ],
)
def test_names_as_in_the_published_files(ours, theirs):
    assert meta_name(ours) == theirs


def test_conversion_there_and_back_changes_nothing(weights):
    there = to_meta_state_dict(weights)
    back = from_meta(there, weights, where="here")
    assert list(back) == list(weights)
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    assert there["sam_prompt_encoder.point_embeddings.2.weight"].shape == (1, NETWORKS["nano"].width)


def test_two_different_fourier_matrices_cannot_be_written(weights):
    other = dict(weights)
    other[FOURIER_COPIES[0]] = other[FOURIER_COPIES[0]] + 1
    with pytest.raises(MismatchError, match="Fourier"):
        to_meta_state_dict(other)


def test_missing_and_unexpected_keys_are_named(weights):
    there = to_meta_state_dict(weights)
    there["extra.weight"] = there.pop("no_obj_ptr")
    with pytest.raises(MismatchError, match=r"a\.pt: .*1 missing \(no_obj_ptr\) and 1 unexpected \(extra\.weight\)"):
        from_meta(there, weights, where="a.pt")


def test_the_network_is_found_by_its_image_encoder(weights):
    assert network_of(to_meta_state_dict(weights), where="a.pt") == ("nano", NETWORKS["nano"])


def test_other_models_are_refused(weights):
    there = to_meta_state_dict(weights)
    with pytest.raises(MismatchError, match="another model"):
        network_of({"backbone.weight": torch.zeros(1)}, where="a.pt")
    deeper = {**there, "image_encoder.trunk.blocks.99.norm1.weight": torch.zeros(1)}
    with pytest.raises(MismatchError, match="8 blocks of 24 channels"):
        network_of(deeper, where="a.pt")
