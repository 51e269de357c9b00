"""The given region on every frame: a program that speaks the VOT toolkit's `folder` protocol, without a library."""

import pathlib

frames = pathlib.Path("frames_color.txt").read_text().splitlines()  # a path of a picture a line
for query in pathlib.Path().glob("query_*.txt"):
    first, region, *_ = query.read_text().splitlines()  # the frame that the object starts on, and where it is there
    rows = ["0"] * int(first) + [region] * (len(frames) - int(first))  # 0 = it is not there
    pathlib.Path(query.name.replace("query", "output")).write_text("\n".join(rows) + "\n")
