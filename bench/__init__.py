"""Benchmarks that anyone can run: `python -m bench` lists them, `python -m bench NAME` runs one. See README.md."""
