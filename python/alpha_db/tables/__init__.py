"""Tables of the users under the chain: the commands, and the writers of their rows."""
