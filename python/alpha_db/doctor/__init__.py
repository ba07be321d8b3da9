"""What works in the database at hand, what is lost there, and what to set: before the installation, and after it."""

from alpha_db.doctor.examination import Check, State, examine

__all__ = ["Check", "State", "examine"]
