"""The command of the embedded server: alpha-db server."""
