"""`python -m comfy_mock` is `comfy-mock`."""

from comfy_mock.cli import main

main()
