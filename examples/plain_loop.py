"""The relevance loss in your own training loop: plain PyTorch, your optimizer, your data.

Replace the model with load_model("vit_base_patch16_224.augreg_in21k_ft_in1k") and the scenes with your photos and
masks.
"""

from importlib.resources import files
from tempfile import TemporaryDirectory

import torch
from torch.utils.data import DataLoader

from robustvit import load_model, relevance, relevance_loss
from robustvit.data.class_matching import match_labels
from robustvit.data.datasets import MaskedPhotos
from robustvit.data.embedded.scenes import write_split
from robustvit.data.find_photos import find_photos
from robustvit.guidance.paper_losses import confidence_loss

torch.manual_seed(0)
model = load_model(f"local-dir:{files('robustvit.data.embedded') / 'model'}")  # takes images in [0, 1]
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
losses = []
with TemporaryDirectory() as folder:
    write_split(folder, 1, seed=1)  # images/<class>/*.png and masks/<class>/*.png
    photos = match_labels(find_photos(f"{folder}/images", f"{folder}/masks"), model.num_classes, model.class_names)[:3]
    loader = DataLoader(MaskedPhotos(photos, model.preprocessing), batch_size=3, shuffle=True)
    for _ in range(4):
        for batch in loader:
            # maps: (B, 1, H, W) in [0, 1]. Second order is slower and more stable than the paper's first order.
            maps = relevance(model, batch["image"], batch["label"], second_order=True)
            losses.append(relevance_loss(maps, batch["mask"]))
            loss = 0.8 * losses[-1] + 0.2 * confidence_loss(model(batch["image"]))  # the paper's equation 5
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
print(f"relevance loss: {losses[0].item():.4f} -> {losses[-1].item():.4f}")
