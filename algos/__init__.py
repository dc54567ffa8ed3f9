"""Execution algorithms: curves, and the slicer that follows them."""
