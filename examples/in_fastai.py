"""ArcFace and complement flattening in fastai, with a timm backbone."""

import timm
import torch
import torch.nn.functional as F
from fastai.callback import schedule  # noqa: F401, gives learners fit_one_cycle
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from afield import Objective
from afield.heads import ArcFaceHead


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = timm.create_model("test_resnet", num_classes=0)
        head = ArcFaceHead(self.backbone.num_features, 10)
        self.objective = Objective(head, losses={"cross_entropy": 1.0, "complement_flattening": 0.5})

    def forward(self, images):
        return self.backbone(images)

    def logits(self, images):
        return self.objective.logits(self.backbone(images))


def make_learner(loaders, model):
    return Learner(loaders, model, loss_func=model.objective)


if __name__ == "__main__":
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    images = F.interpolate(images, size=32).expand(-1, 3, -1, -1)
    targets = torch.tensor(digits.target)
    train = DataLoader(TensorDataset(images[:1500], targets[:1500]), batch_size=50, shuffle=True)
    valid = DataLoader(TensorDataset(images[1500:], targets[1500:]), batch_size=100)

    torch.manual_seed(0)
    learner = make_learner(DataLoaders(train, valid), Classifier())
    learner.remove_cb(ProgressCallback)
    with learner.no_logging():
        learner.fit_one_cycle(4, 3e-3)
    learner.model.eval()
    with torch.no_grad():
        predicted = learner.model.logits(images[1500:]).argmax(dim=1)
    print(f"accuracy on the last 297 digits: {(predicted == targets[1500:]).float().mean():.3f}")
