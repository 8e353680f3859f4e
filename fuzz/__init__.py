"""Coverage-guided fuzzing of every reader of untrusted input (README.md)."""
