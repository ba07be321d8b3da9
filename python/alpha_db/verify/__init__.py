"""Whether a log holds: its chains, by the database and without its help, its guards, its lockdown."""
