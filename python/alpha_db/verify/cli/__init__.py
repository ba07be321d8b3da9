"""The commands that watch an installation: verify-chain, status, guards, attempts, lockdown."""
