"""Trackers that are no memory policies: classes with `init` and `update`, and programs that speak TraX or `folder`."""
