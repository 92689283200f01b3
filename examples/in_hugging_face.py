"""ArcFace and complement flattening in the Hugging Face Trainer, with a ResNet from transformers."""

import tempfile

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from transformers import PrinterCallback, ResNetConfig, ResNetModel, Trainer, TrainingArguments

from afield import Objective
from afield.heads import ArcFaceHead


class Classifier(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        head = ArcFaceHead(backbone.config.hidden_sizes[-1], 10)
        self.objective = Objective(head, losses={"cross_entropy": 1.0, "complement_flattening": 0.5})

    def forward(self, pixel_values, labels=None):
        features = self.backbone(pixel_values).pooler_output.flatten(1)
        loss = None if labels is None else self.objective(features, labels)
        return {"loss": loss, "logits": self.objective.logits(features)}


def examples(images, targets):
    return [{"pixel_values": image, "labels": target} for image, target in zip(images, targets, strict=True)]


def compute_metrics(evaluated):
    return {"accuracy": (evaluated.predictions.argmax(axis=1) == evaluated.label_ids).mean().item()}


if __name__ == "__main__":
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    images = F.interpolate(images, size=32).expand(-1, 3, -1, -1)
    targets = torch.tensor(digits.target)

    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 64], depths=[1, 1, 1], layer_type="basic")
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            Classifier(ResNetModel(config)),
            TrainingArguments(
                folder,
                num_train_epochs=4,
                per_device_train_batch_size=50,
                learning_rate=3e-3,
                use_cpu=True,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=examples(images[:1500], targets[:1500]),
            eval_dataset=examples(images[1500:], targets[1500:]),
            compute_metrics=compute_metrics,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        print(f"accuracy on the last 297 digits: {trainer.evaluate()['eval_accuracy']:.3f}")
