"""The commands of evidence: checkpoint, prove, verify-proof, export, verify-export, tiles."""
