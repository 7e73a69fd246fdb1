"""Scripts: what a fake server is told to do differently from a sunny day (docs/scripts.md)."""
