"""The version of the program, held equal to the distribution's metadata by a test."""

from typing import Final

VERSION: Final = "0.1.0"
