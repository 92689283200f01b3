"""HTML reports. Does not import torch."""

from afield.reporting.page import render as render
