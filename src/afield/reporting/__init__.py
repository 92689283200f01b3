"""The HTML report of a comparison. Free of torch."""

from afield.reporting.page import render as render
