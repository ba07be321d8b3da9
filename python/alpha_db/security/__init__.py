"""Checking signed risk limits without trusting the database that stores them."""
