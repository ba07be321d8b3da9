"""Time-stamps of others for what was signed here. Source: RFC 3161."""
