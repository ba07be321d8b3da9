"""The Merkle logs as static files that any web server can serve. Source: c2sp.org/tlog-tiles."""
