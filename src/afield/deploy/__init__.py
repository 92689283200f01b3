"""Use a recipe: train it on all domains, evaluate it on other data, predict, export."""

from afield.deploy.evaluate import evaluate
from afield.deploy.export import export_onnx
from afield.deploy.model import Model, Prediction, load
from afield.deploy.train import run_training

__all__ = ["Model", "Prediction", "evaluate", "export_onnx", "load", "run_training"]
