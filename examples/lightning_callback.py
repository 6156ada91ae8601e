"""Relevance guidance as a Lightning callback: your LightningModule does not change; its batches include masks."""

import lightning
import numpy as np
import torch

from robustvit import load_model, relevance, relevance_loss
from robustvit.data import embedded
from robustvit.data.embedded.scenes import make_scene


class RelevanceGuidance(lightning.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.batch = batch

    def on_after_backward(self, trainer, module):
        images, masks, labels = self.batch
        loss = relevance_loss(relevance(module.model, images, labels, second_order=True), masks)
        # With precision 16-mixed, which scales losses, add this loss in training_step instead.
        (0.8 * loss / trainer.accumulate_grad_batches).backward()
        print(f"epoch {trainer.current_epoch}: relevance loss {loss.item():.4f}")


class Yours(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = load_model(f"local-dir:{embedded.__path__[0]}/model")

    def training_step(self, batch, batch_idx):
        return 0.2 * torch.nn.functional.cross_entropy(self.model(batch[0]), batch[2])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.model.parameters(), lr=1e-5)


scenes = [make_scene(label, label, np.random.default_rng(label)) for label in range(3)]
data = [(torch.tensor(s.image).permute(2, 0, 1) / 255, torch.tensor(s.mask)[None] / 255, s.label) for s in scenes]
trainer = lightning.Trainer(max_epochs=4, accelerator="cpu", barebones=True, callbacks=[RelevanceGuidance()])
trainer.fit(Yours(), torch.utils.data.DataLoader(data, batch_size=3))
