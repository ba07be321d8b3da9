"""A Prometheus exporter over one installation, and a command that is run when something happens there."""
