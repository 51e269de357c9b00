"""Sizes of the published networks, and the way to the library's configuration."""

from __future__ import annotations

import pytest

from mosam.errors import MismatchError
from mosam.model.networks import NETWORKS, Network, library_config

# From sam2/configs/sam2.1/sam2.1_hiera_{t,s,b+,l}.yaml at 2b90b9f, with hieradet.py's defaults where they say nothing.
OFFICIAL = {
    "tiny": (96, 1, (1, 2, 7, 2), (5, 7, 9), (7, 7), (8, 4, 14, 7)),
    "small": (96, 1, (1, 2, 11, 2), (7, 10, 13), (7, 7), (8, 4, 14, 7)),
    "base-plus": (112, 2, (2, 3, 16, 3), (12, 16, 20), (14, 14), (8, 4, 14, 7)),
    "large": (144, 2, (2, 6, 36, 4), (23, 33, 43), (7, 7), (8, 4, 16, 8)),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_published_sizes_are_the_official_ones(name):
    width, heads, blocks, global_blocks, background, windows = OFFICIAL[name]
    network = NETWORKS[name]
    assert network.channels == (width, 2 * width, 4 * width, 8 * width)
    assert network.heads == (heads, 2 * heads, 4 * heads, 8 * heads)
    assert (network.blocks, network.global_blocks) == (blocks, global_blocks)
    assert (network.background, network.windows) == (background, windows)
    assert (network.image, network.width, network.memory, network.attention_layers) == (1024, 256, 64, 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_survives_json(name):
    import json

    network = NETWORKS[name]
    assert Network.from_json(json.loads(json.dumps(network.to_json())), "here") == network


def test_a_missing_or_unknown_field_is_named():
    values = NETWORKS["nano"].to_json()
    del values["width"]
    with pytest.raises(MismatchError, match=r"nano\.json.*width"):
        Network.from_json(values, "nano.json")
    with pytest.raises(MismatchError, match="depth"):
        Network.from_json({**NETWORKS["nano"].to_json(), "depth": 3}, "nano.json")


@pytest.mark.parametrize("name", ["tiny", "large"])
def test_the_library_reads_our_numbers(name):
    config, network = library_config(NETWORKS[name]), NETWORKS[name]
    backbone = config.vision_config.backbone_config
    assert tuple(backbone.window_size_per_stage) == network.windows
    assert tuple(backbone.global_attention_blocks) == network.global_blocks
    assert tuple(config.vision_config.backbone_channel_list) == network.channels[::-1]
    assert type(config.mask_decoder_config).__name__ == "Sam2VideoMaskDecoderConfig"
    assert config.memory_attention_rope_feat_sizes == [64, 64]
