"""The long form of what makes microgradc trusted: `python -m tests.trust --hours 8`. See docs/trust.md."""
