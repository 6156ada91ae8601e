"""Relevance guidance with timm's training: a task that replaces timm.task.ClassificationTask.

In timm's train.py, build RelevanceTask instead of ClassificationTask, and let the loader return the mask as a fourth
channel (timm's transforms take images only, torchvision's v2 take both)."""

import numpy as np
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.task import ClassificationTask

from robustvit import relevance, relevance_loss
from robustvit.data import embedded
from robustvit.data.embedded.scenes import make_scene


class RelevanceTask(ClassificationTask):
    def forward(self, input, target):
        losses = super().forward(input[:, :3], target)
        maps = relevance(self.trainable_module, input[:, :3], target, second_order=True)
        losses["relevance"] = relevance_loss(maps, input[:, 3:])
        return losses | {"loss": 0.2 * losses["loss"] + 0.8 * losses["relevance"]}


model = timm.create_model(f"local-dir:{embedded.__path__[0]}/model", pretrained=True).eval()
mean, std = (np.array(timm.data.resolve_model_data_config(model)[name]) for name in ("mean", "std"))
scenes = [make_scene(label, label, np.random.default_rng(label)) for label in range(3)]
channels = [np.dstack([(scene.image / 255 - mean) / std, scene.mask / 255]) for scene in scenes]
input, target = torch.tensor(np.stack(channels)).permute(0, 3, 1, 2).float(), torch.arange(3)
task, optimizer = RelevanceTask(model), create_optimizer_v2(model, opt="adamw", lr=1e-5)
scheduler, epochs = create_scheduler_v2(optimizer, sched="cosine", num_epochs=4)
for epoch in range(4):
    result = task(input, target)
    print(f"epoch {epoch}: relevance loss {result['relevance'].item():.4f}")
    optimizer.zero_grad()
    result["loss"].backward()
    optimizer.step()
    scheduler.step(epoch + 1)
