"""Relevance guidance as a Lightning callback: your LightningModule does not change; its batches include masks."""

import lightning
import numpy as np
import torch

from robustvit import load_model
from robustvit.data import embedded
from robustvit.data.embedded.scenes import make_scene
from robustvit.training.lightning_callback import RelevanceCallback


class Yours(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = load_model(f"local-dir:{embedded.__path__[0]}/model")

    def training_step(self, batch, batch_idx):
        return 0.2 * torch.nn.functional.cross_entropy(self.model(batch[0]), batch[2])

    def on_train_epoch_end(self):
        print(f"epoch {self.current_epoch}: relevance loss {self.trainer.callback_metrics['relevance_loss']:.4f}")

    def configure_optimizers(self):
        return torch.optim.AdamW(self.model.parameters(), lr=1e-5)


scenes = [make_scene(label, label, np.random.default_rng(label)) for label in range(3)]
data = [(torch.tensor(s.image).permute(2, 0, 1) / 255, torch.tensor(s.mask)[None] / 255, s.label) for s in scenes]
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = lightning.Trainer(max_epochs=4, accelerator="cpu", callbacks=[RelevanceCallback(weight=0.8)], **quiet)
trainer.fit(Yours(), torch.utils.data.DataLoader(data, batch_size=3))
