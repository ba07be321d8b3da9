"""Signed checkpoints: made from a database, kept in a directory outside of it, compared with it later."""
