"""ArcFace and complement flattening in a plain PyTorch loop, with a timm backbone."""

import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from afield import Objective
from afield.heads import ArcFaceHead

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
images = F.interpolate(images, size=32).expand(-1, 3, -1, -1)
targets = torch.tensor(digits.target)

torch.manual_seed(0)
backbone = timm.create_model("test_resnet", num_classes=0)
head = ArcFaceHead(backbone.num_features, 10)
objective = Objective(head, losses={"cross_entropy": 1.0, "complement_flattening": 0.5})
optimizer = torch.optim.AdamW([*backbone.parameters(), *objective.parameters()], lr=3e-3)

for _ in range(4):
    for batch in torch.randperm(1500).split(50):
        objective(backbone(images[batch]), targets[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()

backbone.eval()
with torch.no_grad():
    predicted = objective.logits(backbone(images[1500:])).argmax(dim=1)

print(f"accuracy on the last 297 digits: {(predicted == targets[1500:]).float().mean():.3f}")
