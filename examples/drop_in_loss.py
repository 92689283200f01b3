"""Complement flattening as a drop-in replacement for `nn.CrossEntropyLoss`."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from afield.losses import ComplementFlattening

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
targets = torch.tensor(digits.target)

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
criterion = ComplementFlattening(strength=0.5)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for _ in range(10):
    for batch in torch.randperm(1500).split(100):
        criterion(model(images[batch]), targets[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()

with torch.no_grad():
    probabilities = model(images[1500:]).softmax(dim=1)
wrong = probabilities.scatter(1, targets[1500:, None], 0)
print(f"mean of the largest wrong-class probability: {wrong.amax(dim=1).mean():.3f}")
