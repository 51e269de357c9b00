"""VOT regions: special codes, points, rectangles, polygons and masks; their files, pixels and overlaps."""
