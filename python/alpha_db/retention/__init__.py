"""Old rows leave by consensus, into files that prove themselves. Source: docs/retention.md."""
