"""The fixtures of fix_book.py, for every test here."""

from tests.checkpoint.fix_book import book, new_book, signed_book

__all__ = ["book", "new_book", "signed_book"]
