"""Measurements, side by side on a server of their own. Run by bin/bench; described in docs/benchmarks.md."""
