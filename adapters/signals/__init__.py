"""One module for each way in which signals arrive."""
