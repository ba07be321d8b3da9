"""For people at a terminal: what their shell completes, and columns."""
