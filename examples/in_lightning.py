"""ArcFace and complement flattening in Lightning, with a timm backbone."""

import logging
import warnings

import lightning as L
import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from afield import Objective
from afield.heads import ArcFaceHead


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = timm.create_model("test_resnet", num_classes=0)
        head = ArcFaceHead(self.backbone.num_features, 10)
        self.objective = Objective(head, losses={"cross_entropy": 1.0, "complement_flattening": 0.5})

    def training_step(self, batch):
        return self.objective(self.backbone(batch[0]), batch[1])

    def forward(self, images):
        return self.objective.logits(self.backbone(images))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers")
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    images = F.interpolate(images, size=32).expand(-1, 3, -1, -1)
    targets = torch.tensor(digits.target)

    torch.manual_seed(0)
    model = Classifier()
    trainer = L.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(images[:1500], targets[:1500]), batch_size=50, shuffle=True))
    predicted = torch.cat(trainer.predict(model, DataLoader(images[1500:], batch_size=100))).argmax(dim=1)
    print(f"accuracy on the last 297 digits: {(predicted == targets[1500:]).float().mean():.3f}")
