"""One module for each venue."""
