"""Numbers that the programs of the SAM 2 family share, by the names they have there."""

from __future__ import annotations

ABSENT_LOGIT = -1024.0  # NO_OBJ_SCORE: of every pixel of an absent object
OVERLAP_LOGIT = -10.0  # most of a pixel that another object wins
FILLED_LOGIT = 0.1  # fill_holes_in_mask_scores: of a hole's pixels
HOLE_AREA = 8  # fill_hole_area: pixels of the low-resolution mask
PROMPT_LOGIT = 10.0  # a mask prompt stands for logits of +-10 and a presence logit of +-10
MEMORY_SCALE, MEMORY_BIAS = 20.0, -10.0  # sigmoid_scale_for_mem_enc, sigmoid_bias_for_mem_enc
STABILITY_DELTA = 0.05  # dynamic_multimask_stability_delta
STABILITY_THRESHOLD = 0.98  # dynamic_multimask_stability_thresh
