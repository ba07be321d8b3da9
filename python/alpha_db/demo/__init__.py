"""The demo: a throw-away server, real candles, and what the audit log does when somebody tampers with it."""
