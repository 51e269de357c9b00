"""The benchmarks' own result formats on disk, one codec for each, a writer and readers.

A codec knows file names and number formats and nothing of scores. Its writer takes a tracker's frames in order; its
readers accept what other people's programs wrote (tabs, spaces, `L` or `P` images) and refuse what is damaged, with
file and line. Nobody shifts or rounds a number: a box written is the box read. A new format is one file here.
"""

from mosam.codecs.base import (
    ABSENT_AS,
    CODECS,
    Codec,
    CodecOptions,
    FrameWriter,
    MaskResult,
    ResultWriter,
    may_be_result,
    paths_of,
    times_path,
)
from mosam.codecs.images import (
    LARGEST_LABEL,
    label_ids,
    labels_of_masks,
    masks_of_labels,
    read_labels,
    voc_palette,
    write_labels,
)
from mosam.codecs.text import Readable, format_number, read_table

__all__ = [
    "ABSENT_AS",
    "CODECS",
    "LARGEST_LABEL",
    "Codec",
    "CodecOptions",
    "FrameWriter",
    "MaskResult",
    "Readable",
    "ResultWriter",
    "format_number",
    "label_ids",
    "labels_of_masks",
    "masks_of_labels",
    "may_be_result",
    "paths_of",
    "read_labels",
    "read_table",
    "times_path",
    "voc_palette",
    "write_labels",
]
