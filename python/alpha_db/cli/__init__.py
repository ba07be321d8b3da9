"""The command line: each command is one SQL call and a renderer."""
