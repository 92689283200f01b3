"""The HTML report of a comparison. Free of torch."""

from afield.report.page import render

__all__ = ["render"]
