"""Complement flattening alone, then with ArcFace, in timm's training loop with a timm model."""

import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.task import ClassificationTask
from timm.utils import AverageMeter, ModelEmaV3, accuracy, random_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from afield import Objective
from afield.heads import ArcFaceHead
from afield.losses import ComplementFlattening


def loss_alone():
    model = timm.create_model("test_resnet", num_classes=10)
    return model, ClassificationTask(model, ComplementFlattening())


def head_and_losses():
    backbone = timm.create_model("test_resnet")
    backbone.reset_classifier(0)
    head = ArcFaceHead(backbone.num_features, 10)
    objective = Objective(head, losses={"cross_entropy": 1.0, "complement_flattening": 0.5})
    return nn.Sequential(backbone, head), ClassificationTask(backbone, objective)


def train_one_epoch(task, model, ema, loader, optimizer):
    task.train()
    for images, targets in loader:
        loss = task(images, targets)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model)


@torch.inference_mode()
def validate(model, loader):
    model.eval()
    top1 = AverageMeter()
    for images, targets in loader:
        top1.update(accuracy(model(images), targets)[0].item(), len(images))
    return top1.avg / 100


if __name__ == "__main__":
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    images = F.interpolate(images, size=32).expand(-1, 3, -1, -1)
    targets = torch.tensor(digits.target)
    train_loader = DataLoader(TensorDataset(images[:1500], targets[:1500]), batch_size=50, shuffle=True)
    eval_loader = DataLoader(TensorDataset(images[1500:], targets[1500:]), batch_size=100)

    for integration in (loss_alone, head_and_losses):
        random_seed(0)
        model, task = integration()
        optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-3)
        scheduler, epochs = create_scheduler_v2(optimizer, sched="cosine", num_epochs=3)
        ema = ModelEmaV3(model, decay=0.9)
        for epoch in range(epochs):
            train_one_epoch(task, model, ema, train_loader, optimizer)
            scheduler.step(epoch + 1)
        print(f"{integration.__name__}: accuracy on the last 297 digits: {validate(ema.module, eval_loader):.3f}")
