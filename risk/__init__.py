"""The gate that every order passes, and the sizing of signals."""
