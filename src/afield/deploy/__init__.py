"""Deployment of a recipe: training on all domains, evaluation on other data, prediction and export."""

from afield.deploy.evaluate import evaluate as evaluate
from afield.deploy.export import export_model as export_model
from afield.deploy.model import Model as Model, Prediction as Prediction
from afield.deploy.saved_model import load as load
from afield.deploy.train import run_training as run_training
