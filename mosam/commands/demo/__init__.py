"""One video of the user's own: read it as a stream, track what they point at, and leave a video to look at."""
