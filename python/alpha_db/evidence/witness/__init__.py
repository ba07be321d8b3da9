"""Witnesses: whoever, outside, has seen that a log only grew, and signs so. Source: c2sp.org/tlog-witness."""
