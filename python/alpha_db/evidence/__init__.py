"""Evidence that an auditor can check alone: checkpoints, proofs, exports."""
