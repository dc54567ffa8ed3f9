"""The tests mirror the tree: tests/risk/test_gate.py is about risk/gate.py."""
