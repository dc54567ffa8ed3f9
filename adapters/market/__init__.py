"""Feeds of market data: replayed files and the synthetic market."""
