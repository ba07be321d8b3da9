"""Evidence that is checked without the database: exports, checkpoints, proofs."""
