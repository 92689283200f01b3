"""A head and losses of afield in a bare PyTorch loop: ArcFace with complement flattening on handwritten digits."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from afield import Objective
from afield.heads import ArcFaceHead

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
targets = torch.tensor(digits.target)

torch.manual_seed(0)
backbone = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
objective = Objective(ArcFaceHead(32, 10), losses={"cross_entropy": 1.0, "complement_flattening": 0.5})
optimizer = torch.optim.AdamW([*backbone.parameters(), *objective.parameters()], lr=3e-3)

for _ in range(10):
    for batch in torch.randperm(1500).split(100):
        loss = objective(backbone(images[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

with torch.no_grad():
    accuracy = (objective.logits(backbone(images[1500:])).argmax(dim=1) == targets[1500:]).float().mean()
print(f"accuracy on the last 297 digits: {accuracy:.3f}")
